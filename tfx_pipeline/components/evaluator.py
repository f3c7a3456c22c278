"""RetrievalEvaluator: full-corpus recall against popularity, and the blessing."""

import json
import logging
from pathlib import Path

import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples
from tfx.types.standard_artifacts import Model
from tfx.types.standard_artifacts import ModelBlessing
from tfx.types.standard_artifacts import ModelEvaluation
from tfx.utils import path_utils

from tfx_pipeline import strict_json
from tfx_pipeline.components.example_gen import read_facts
from tfx_pipeline.components.indexer import load_catalog
from tfx_pipeline.components.indexer import split_files
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.measure import measure_index
from tfx_pipeline.evaluation.measure import measure_rows
from tfx_pipeline.evaluation.measure import measure_users
from tfx_pipeline.evaluation.measure import refusals
from tfx_pipeline.evaluation.rows import EvalRows
from tfx_pipeline.evaluation.rows import read_eval_rows
from tfx_pipeline.evaluation.rows import read_user_rows
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.retriever_artifact import KIND_PROPERTY
from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY
from tfx_pipeline.sources.oracle import Oracle

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"


@component
def RetrievalEvaluator(  # noqa: N802 (a TFX component is named like a class)
    examples: InputArtifact[Examples],
    towers: InputArtifact[Model],
    retriever: InputArtifact[Model],
    evaluation: OutputArtifact[ModelEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    config: Parameter[str],
    dataset: Parameter[str],
    code_digest: Parameter[str],
) -> None:
    """Writes `metrics.json` and blesses the retriever when no gate refuses it."""
    del code_digest  # part of the cache key only
    options = EvaluationConfig(**json.loads(config))
    catalog = load_catalog(retriever)
    loaded = tf.saved_model.load(path_utils.serving_model_path(towers.uri))
    sample = {"max_rows": options.max_rows, "seed": options.seed}
    rows = read_eval_rows(split_files(examples, "eval"), loaded, catalog, **sample)
    users = read_user_rows(split_files(examples, "queries"), loaded, catalog, **sample)
    log.info(
        "Ranking %s conversions and %s users over %s items",
        len(rows.targets),
        len(users.targets),
        len(catalog.item_ids),
    )
    kind = retriever.get_string_custom_property(KIND_PROPERTY)
    metrics = {
        "model_version": retriever.get_string_custom_property(MODEL_VERSION_PROPERTY),
        "index_version": retriever.get_string_custom_property(VERSION_PROPERTY),
        "num_items": len(catalog.item_ids),
        "eval": measure_rows(rows, catalog, Oracle.load(Path(dataset))),
        "queries": measure_users(users, catalog),
        "index": {"kind": kind, **measure_served(retriever, kind, rows, catalog)},
        "examples": read_facts(examples.uri),
    }
    metrics["refusals"] = refusals(
        {**metrics, "index": {k: v for k, v in metrics["index"].items() if k != "kind"}}, options
    )
    metrics["blessed"] = not metrics["refusals"]
    tf.io.gfile.makedirs(evaluation.uri)
    Path(evaluation.uri, METRICS_FILE).write_text(strict_json.dumps(metrics, indent=2) + "\n")
    bless(blessing, retriever, is_blessed=metrics["blessed"])


def measure_served(retriever: Model, kind: str, rows: EvalRows, catalog: Catalog) -> dict:
    """What the exported retriever finds of the exact answers."""
    if kind == "scann":
        import scann  # noqa: F401 (registers the operations that the SavedModel needs)
    return measure_index(tf.saved_model.load(path_utils.serving_model_path(retriever.uri)), rows, catalog)


def bless(blessing: ModelBlessing, retriever: Model, *, is_blessed: bool) -> None:
    """TFX's LatestBlessedModelStrategy finds a blessing by these two properties."""
    blessing.set_int_custom_property("blessed", int(is_blessed))
    blessing.set_int_custom_property("current_model_id", retriever.id)
    Path(blessing.uri).mkdir(parents=True, exist_ok=True)
    Path(blessing.uri, "BLESSED" if is_blessed else "NOT_BLESSED").touch()
