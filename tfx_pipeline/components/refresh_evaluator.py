"""RefreshEvaluator: how a refreshed retriever answers what the last training run set aside to measure, and the blessing."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
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
from tfx_pipeline.components.evaluator import bless
from tfx_pipeline.components.evaluator import measure_served
from tfx_pipeline.components.example_gen import read_facts
from tfx_pipeline.components.indexer import load_catalog
from tfx_pipeline.components.indexer import split_files
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.gates import refusals
from tfx_pipeline.evaluation.measure import measure_rows
from tfx_pipeline.evaluation.measure import rank_rows
from tfx_pipeline.evaluation.rows import conversions
from tfx_pipeline.evaluation.rows import eval_rows
from tfx_pipeline.evaluation.rows import without_gone
from tfx_pipeline.refresh_config import RefreshConfig
from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.retriever_artifact import KIND_PROPERTY
from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY

log = logging.getLogger(__name__)


@component
def RefreshEvaluator(  # noqa: N802 (a TFX component is named like a class)
    examples: InputArtifact[Examples],
    catalog_examples: InputArtifact[Examples],
    towers: InputArtifact[Model],
    served: InputArtifact[Model],
    retriever: InputArtifact[Model],
    evaluation: OutputArtifact[ModelEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    evaluation_config: Parameter[str],
    refresh_config: Parameter[str],
    code_digest: Parameter[str],
) -> None:
    """Writes `metrics.json` and blesses the retriever when no gate refuses it.

    Conversions of the split `eval` whose item is gone are set aside and counted; `served` is what is replaced.
    """
    del code_digest  # part of the cache key only
    options = EvaluationConfig(**json.loads(evaluation_config))
    catalog = load_catalog(retriever)
    loaded = tf.saved_model.load(path_utils.serving_model_path(towers.uri))
    records = conversions(split_files(examples, "eval"))
    kept = without_gone(records, catalog)
    rows = eval_rows(kept, loaded, catalog, max_rows=options.max_rows, seed=options.seed)
    log.info("Ranking %s conversions over %s items", len(rows.targets), len(catalog.item_ids))
    served_ids = load_catalog(served).item_ids
    kind = retriever.get_string_custom_property(KIND_PROPERTY)
    counts = read_facts(catalog_examples.uri)["counts"]
    metrics: dict[str, Any] = {
        "model_version": retriever.get_string_custom_property(MODEL_VERSION_PROPERTY),
        "index_version": retriever.get_string_custom_property(VERSION_PROPERTY),
        "num_items": len(catalog.item_ids),
        "num_known": counts.get("items.known", 0),
        "num_new": counts.get("items.new", 0),
        "num_served": len(served_ids),
        "num_removed": len(np.setdiff1d(served_ids, catalog.item_ids)),
        "num_conversions_gone": len(records) - len(kept),
        "eval": measure_rows(rank_rows(rows, catalog, None), rows.is_new),
        "index": {"kind": kind, **measure_served(retriever, kind, rows, catalog)},
        "examples": {"counts": counts},
    }
    metrics["refusals"] = refresh_refusals(metrics, options, RefreshConfig(**json.loads(refresh_config)))
    metrics["blessed"] = not metrics["refusals"]
    tf.io.gfile.makedirs(evaluation.uri)
    Path(evaluation.uri, METRICS_FILE).write_text(strict_json.dumps(metrics, indent=2) + "\n")
    bless(blessing, retriever, is_blessed=metrics["blessed"])


def refresh_refusals(metrics: dict[str, Any], evaluation: EvaluationConfig, refresh: RefreshConfig) -> list[str]:
    """Why the refreshed retriever may not be pushed; empty when it may."""
    reasons = []
    share = metrics["num_removed"] / metrics["num_served"]
    if share > refresh.max_removed_share:
        reasons.append(
            f"catalogue: {metrics['num_removed']} of the {metrics['num_served']} items that are served now are missing, "
            f"{share:.1%}, it must be at most {refresh.max_removed_share:.1%} (refresh.max_removed_share). Is the feed "
            "whole? If so, raise the limit"
        )
    if not metrics["eval"]["all"]["num_rows"]:
        reasons.append(
            f"eval.all: the items of all {metrics['num_conversions_gone']} conversions are gone, so that nothing can be "
            "measured. Train anew on events of this catalogue: python -m tfx_pipeline.local_runner"
        )
        return reasons
    index = {name: value for name, value in metrics["index"].items() if name != "kind"}
    return reasons + refusals({**metrics, "index": index}, evaluation)
