"""Trains one variant on the examples of a run and measures it; one JSON line on standard output."""

import argparse
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from benchmarks.ablation_variants import ADVERTISERS
from benchmarks.ablation_variants import ENGAGEMENTS
from benchmarks.ablation_variants import IMPRESSIONS
from benchmarks.ablation_variants import VARIANTS
from schemas import tables
from schemas.features import FeatureGroups
from schemas.features import feature_groups
from tfx_pipeline.configs import build_config
from tfx_pipeline.dataset import TABLES_FOLDER
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluate import Splits
from tfx_pipeline.evaluation.evaluate import evaluate
from tfx_pipeline.index.embed import embed_catalog
from tfx_pipeline.index.embed import load_towers
from tfx_pipeline.run_record import RunRecord
from tfx_pipeline.run_record import read_last_run
from tfx_pipeline.sources.oracle import Oracle
from trainer.advertisers import advertiser_feature
from trainer.config import TrainerConfig
from trainer.export import export_towers
from trainer.fit import fit
from trainer.inputs import training_spec
from trainer.run import build_model
from trainer.run import history_events
from trainer.training_file import TRAINING_FILE

Found = dict[str, Any]


def main() -> None:
    """Prints the recall, or why the variant is the default on this data."""
    flags = _parse()
    request = json.loads(flags.request)
    variant = VARIANTS[request["variant"]]
    default = build_config(request["source"], settings=request.get("set", [])).trainer.to_dict()
    run = read_last_run(flags.root / "metadata.sqlite", expected=())
    transform = tft.TFTransformOutput(str(artifact_folder(run, "Transform.transform_graph")))
    steps = {"seed": request["seed"], "max_steps": request["max_steps"]}
    config, of_default = (
        TrainerConfig(**{**default, **changes, **steps}).for_events(history_events(transform))
        for changes in (variant.changes, {})
    )
    if variant.changes and config == of_default:
        print(json.dumps({"skipped": "this data's default"}))
        return
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle.load(flags.root / TABLES_FOLDER)
        found = _train_and_measure(
            run, transform, config, variant.needs, Path(folder), oracle=oracle, rows=request["rows"]
        )
        print(json.dumps(found))


def _train_and_measure(
    run: RunRecord,
    transform: tft.TFTransformOutput,
    config: TrainerConfig,
    needs: str,
    folder: Path,
    *,
    oracle: Oracle | None,
    rows: int,
) -> Found:
    groups = groups_of(run)
    transformed = artifact_folder(run, "Transform.transformed_examples")
    train, catalog = (sorted(map(str, (transformed / f"Split-{name}").glob("*"))) for name in ("train", "catalog"))
    tf.keras.utils.set_random_seed(config.seed)
    model = build_model(transform, groups, catalog, config)
    has = {
        ENGAGEMENTS: lambda: not tables.ENGAGEMENTS.isdisjoint(history_events(transform)),
        IMPRESSIONS: lambda: config.impression_negatives and model.num_draws > config.uniform_negatives,
        ADVERTISERS: lambda: advertiser_feature(groups, model.catalog, config) is not None,
    }
    if needs and not has[needs]():
        return {"skipped": f"no {needs}"}
    start_s = time.monotonic()
    fit(model, train, training_spec(transform, groups), config, folder=folder / "run")
    train_s = time.monotonic() - start_s
    export_towers(model, transform, groups, str(folder / "towers"))
    measured = _measured(run, str(folder / "towers"), folder, oracle=oracle, rows=rows)
    return {**measured, "held_out": _held_out(folder / "run" / TRAINING_FILE), "train_s": train_s}


def _held_out(file: Path) -> list[float] | None:
    """Recall of all and of new at the best measure of the held-out train rows, which defaults may be chosen by."""
    best = [point for point in json.loads(file.read_text())["validations"] if point["is_best"]]
    return [best[-1][name] for name in ("recall_all", "recall_new")] if best else None


def _measured(run: RunRecord, towers: str, folder: Path, *, oracle: Oracle | None, rows: int) -> Found:
    examples = artifact_folder(run, "MarketplaceExampleGen.examples")
    names = ("train", "eval", "queries", "catalog")
    files = {name: sorted(map(str, (examples / f"Split-{name}").glob("*"))) for name in names}
    embedded = embed_catalog(beam.Pipeline(), towers=towers, files=files["catalog"], folder=folder / "catalog")
    options = EvaluationConfig(max_rows=rows, bootstrap_samples=100)
    loaded = load_towers(towers)
    metrics = evaluate(Splits(**files), loaded, embedded, baseline=None, oracle=oracle, config=options).metrics
    engagements = [
        record["model"]["value"]
        for record in metrics["slices"]
        if (record["task"], record["slice"], record["novelty"], record["metric"])
        == ("engagement", "overall", "all", "recall@100")
    ]
    by_name = {
        name: {
            f"{kind} @{k}": metrics["eval"][kind][of][f"recall@{k}"] for kind in ("all", "new") for k in (10, 100, 1000)
        }
        for name, of in (("recall", "model"), ("popularity", "popularity"), ("best", "best_possible"))
        if of in metrics["eval"]["all"]
    }
    return {**by_name, "engagements": engagements[0] if engagements else None}


def groups_of(run: RunRecord) -> FeatureGroups:
    """Features of the schema of a run."""
    (file,) = artifact_folder(run, "ImportSchemaGen.schema").glob("*.pbtxt")
    return feature_groups(text_format.Parse(file.read_text(), schema_pb2.Schema()))


def artifact_folder(run: RunRecord, key: str) -> Path:
    """Folder of an artifact of the run.

    Raises:
        ValueError: the run did not write it.
    """
    folder = run.uri(key)
    if folder is None:
        raise ValueError(
            f"The last run below --root must have {key}: a training, not a refresh. Has: {sorted(run.artifacts)}"
        )
    return folder


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation_worker", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--request", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
