"""What a refresh leaves for people and scripts: `refresh.json`, the user snapshot's items and a summary on the console."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline import strict_json
from tfx_pipeline.atomic import write_text
from tfx_pipeline.components.catalog_changer import NUM_CHANGED_PROPERTY
from tfx_pipeline.components.catalog_changer import NUM_DROPPED_PROPERTY
from tfx_pipeline.components.catalog_changer import NUM_UNKNOWN_PROPERTY
from tfx_pipeline.components.evaluator import METRICS_FILE
from tfx_pipeline.components.indexer import catalog_below
from tfx_pipeline.report import SNAPSHOT_FILE
from tfx_pipeline.run_record import RunRecord
from tfx_pipeline.served_run import ServedRun
from tfx_pipeline.snapshot import change_prices
from tfx_pipeline.snapshot import write_snapshot

REFRESH_FILE = "refresh.json"


def write_metrics(root: Path, record: RunRecord) -> dict[str, Any]:
    """Writes `ROOT/refresh.json`: the evaluator's figures and what was pushed; empty when the evaluator did not run."""
    evaluation = record.uri("RefreshEvaluator.evaluation")
    if evaluation is None:
        return {}
    metrics = {"pushed_version": record.pushed_version, **json.loads((evaluation / METRICS_FILE).read_text())}
    write_text(root / REFRESH_FILE, strict_json.dumps(metrics, indent=2) + "\n")
    return metrics


def write_user_snapshot(root: Path, record: RunRecord, served: ServedRun, data: dict[str, str]) -> None:
    """The users of the training run beside the new items."""
    write_snapshot(
        str(served.examples),
        root / "serving" / SNAPSHOT_FILE,
        source=data["source"],
        notice=data["notice"],
        catalog_uri=str(record.uri("CatalogExampleGen.examples")),
    )


def change_user_snapshot(root: Path, record: RunRecord, served: ServedRun) -> None:
    """Takes over the prices that changed."""
    new = record.uri("CatalogChanger.retriever")
    snapshot = root / "serving" / SNAPSHOT_FILE
    if new is None or not snapshot.exists():
        return
    before, after = catalog_below(served.retriever), catalog_below(new)
    has_changed = ~np.isnan(after.prices) & (after.prices != before.prices)
    prices = zip(after.item_ids[has_changed], after.prices[has_changed], strict=True)
    change_prices(snapshot, {item_id.decode(): price for item_id, price in prices})


def summary(metrics: dict[str, Any], *, replaced: str, seconds: float) -> str:
    """Versions, what became of the items, and recall."""
    found = metrics["eval"]["all"]
    index = {name: value for name, value in metrics["index"].items() if name.startswith("recall")}
    recalls = ", ".join(f"{name}: {found['model'][name]:.3f}" for name in found["model"])
    popularity = ", ".join(f"{value:.3f}" for value in found["popularity"].values())
    return (
        f"\nPushed version {metrics['pushed_version']} in place of {replaced} in {seconds:.0f} s, "
        f"with the towers of {metrics['model_version']}\n"
        f"Catalogue: {metrics['num_items']:,} items, {metrics['num_known']:,} known to the training run, "
        f"{metrics['num_new']:,} new; {metrics['num_removed']:,} of the {metrics['num_served']:,} that were served are gone\n"
        f"Index {metrics['index']['kind']}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in index.items())
        + f"\nOn {found['num_rows']:,} conversions ({metrics['num_conversions_gone']:,} of items that are gone): "
        f"{recalls} (popularity: {popularity})"
    )


def summary_of_changes(record: RunRecord, *, replaced: str, seconds: float) -> str:
    """Versions, and how many items changed."""
    counts = record.artifacts["CatalogChanger.retriever"].custom_properties
    changed, unknown, dropped = (
        counts[name].int_value for name in (NUM_CHANGED_PROPERTY, NUM_UNKNOWN_PROPERTY, NUM_DROPPED_PROPERTY)
    )
    return (
        f"\nPushed version {record.pushed_version} in place of {replaced} in {seconds:.0f} s\n"
        f"Changed {changed:,} items; passed over {unknown:,} that the catalogue does not have and {dropped:,} unusable values"
    )
