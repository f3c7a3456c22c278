"""RetrievalEvaluator: full-corpus metrics by slice beside popularity and the last blessed retriever, and the blessing."""

import json
import logging
from pathlib import Path
from typing import Any

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
from tfx_pipeline.evaluation import baseline as baselines
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluate import Evaluated
from tfx_pipeline.evaluation.evaluate import Splits
from tfx_pipeline.evaluation.evaluate import evaluate
from tfx_pipeline.evaluation.gates import gates
from tfx_pipeline.evaluation.measure import measure_index
from tfx_pipeline.evaluation.outcome_examples import write_outcomes
from tfx_pipeline.evaluation.rows import EvalRows
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.indexes import NEED_SCANN
from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.retriever_artifact import CATALOG_FOLDER
from tfx_pipeline.retriever_artifact import KIND_PROPERTY
from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import TOWERS_PROPERTY
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY
from tfx_pipeline.sources.oracle import Oracle

log = logging.getLogger(__name__)

_SPLITS = ("train", "eval", "queries", "catalog")


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
    last_blessed: InputArtifact[Model] = None,
) -> None:
    """Writes `metrics.json` and blesses the retriever when no gate refuses it.

    Beside it, `outcomes`: an Example for each conversion, for TensorFlow Model Analysis (see `outcome_examples`).
    """
    del code_digest  # part of the cache key only
    options = EvaluationConfig(**json.loads(config))
    catalog = load_catalog(retriever)
    kind = retriever.get_string_custom_property(KIND_PROPERTY)
    baseline = load_last_blessed(last_blessed) if last_blessed else None
    found = evaluate(
        Splits(**{name: split_files(examples, name) for name in _SPLITS}),
        tf.saved_model.load(path_utils.serving_model_path(towers.uri)),
        catalog,
        baseline=baseline,
        oracle=Oracle.load(Path(dataset)),
        config=options,
    )
    metrics: dict[str, Any] = {
        "model_version": retriever.get_string_custom_property(MODEL_VERSION_PROPERTY),
        "index_version": retriever.get_string_custom_property(VERSION_PROPERTY),
        "num_items": len(catalog.item_ids),
        **found.metrics,
        "index": {"kind": kind, **measure_served(retriever, kind, found.rows, catalog)},
        "baseline": baseline.versions if baseline else None,
        "examples": read_facts(examples.uri),
    }
    _save(evaluation, judged(metrics, options), found)
    bless(blessing, retriever, is_blessed=metrics["blessed"])


def judged(metrics: dict[str, Any], options: EvaluationConfig) -> dict[str, Any]:
    """The metrics, with the gates' verdicts put into them."""
    index = {name: value for name, value in metrics["index"].items() if name != "kind"}
    checked = gates({**metrics, "index": index}, options)
    metrics["gates"] = [gate._asdict() for gate in checked]
    metrics["refusals"] = [gate.message for gate in checked if not gate.is_passed]
    metrics["blessed"] = not metrics["refusals"]
    return metrics


def _save(evaluation: ModelEvaluation, metrics: dict[str, Any], found: Evaluated) -> None:
    tf.io.gfile.makedirs(evaluation.uri)
    write_outcomes(Path(evaluation.uri), found.conversions)
    Path(evaluation.uri, METRICS_FILE).write_text(strict_json.dumps(metrics, indent=2) + "\n")


def load_last_blessed(retriever: Model) -> baselines.Baseline | None:
    """The towers and vectors of an earlier run's retriever, None if they are gone."""
    towers = retriever.get_string_custom_property(TOWERS_PROPERTY)
    names = {"model_version": MODEL_VERSION_PROPERTY, "index_version": VERSION_PROPERTY}
    versions = {name: retriever.get_string_custom_property(key) for name, key in names.items()}
    folder = path_utils.serving_model_path(towers) if towers else ""
    return baselines.load_baseline(folder, Path(retriever.uri) / CATALOG_FOLDER, versions)


def measure_served(retriever: Model, kind: str, rows: EvalRows, catalog: Catalog) -> dict:
    """What the exported retriever finds of the exact answers."""
    if kind in NEED_SCANN:
        import scann  # noqa: F401 (registers the operations that the SavedModel needs)
    return measure_index(tf.saved_model.load(path_utils.serving_model_path(retriever.uri)), rows, catalog)


def bless(blessing: ModelBlessing, retriever: Model, *, is_blessed: bool) -> None:
    """TFX's LatestBlessedModelStrategy finds a blessing by these two properties."""
    blessing.set_int_custom_property("blessed", int(is_blessed))
    blessing.set_int_custom_property("current_model_id", retriever.id)
    Path(blessing.uri).mkdir(parents=True, exist_ok=True)
    Path(blessing.uri, "BLESSED" if is_blessed else "NOT_BLESSED").touch()
