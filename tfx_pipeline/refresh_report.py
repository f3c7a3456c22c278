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
from tfx_pipeline.components.indexer import catalog_below
from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.report.snapshot_file import SNAPSHOT_FILE
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
    """The users of the training run beside the new items, or the items that are there with the prices that changed."""
    path = root / "serving" / SNAPSHOT_FILE
    if catalog := record.uri("CatalogExampleGen.examples"):
        texts = {"source": data["source"], "notice": data["notice"]}
        write_snapshot(str(served.examples), path, **texts, catalog_uri=str(catalog))
    elif (changed := record.uri("CatalogChanger.retriever")) and path.exists():
        before, after = catalog_below(served.retriever), catalog_below(changed)
        is_new = ~np.isnan(after.prices) & (after.prices != before.prices)
        prices = zip(after.item_ids[is_new], after.prices[is_new], strict=True)
        change_prices(path, {item_id.decode(): price for item_id, price in prices})


def summary(metrics: dict[str, Any], record: RunRecord, *, replaced: str, seconds: float) -> str:
    """Versions, what became of the items and, of a whole catalogue, recall."""
    head = f"\nPushed version {record.pushed_version} in place of {replaced} in {seconds:.0f} s"
    return "\n".join([head, *(_of_catalog(metrics) if metrics else _of_changes(record))])


def _of_catalog(metrics: dict[str, Any]) -> list[str]:
    found = metrics["eval"]["all"]
    (index_recall,) = ((name, value) for name, value in metrics["index"].items() if name.startswith("recall"))
    recalls = ", ".join(
        f"{name} {value:.3f} ({found['popularity'][name]:.3f})" for name, value in found["model"].items()
    )
    return [
        f"Catalogue: {metrics['num_items']:,} items, {metrics['num_known']:,} known to the training run of version "
        f"{metrics['model_version']}, {metrics['num_new']:,} new; {metrics['num_removed']:,} of the "
        f"{metrics['num_served']:,} that were served are gone",
        f"Index: {metrics['index']['kind']}, {index_recall[0].replace('_', ' ')} {index_recall[1]:.4f}",
        f"Eval, each conversion ({found['num_rows']:,}; {metrics['num_conversions_gone']:,} of items that are gone), model "
        f"(popularity): {recalls}",
    ]


def _of_changes(record: RunRecord) -> list[str]:
    counts = record.artifacts["CatalogChanger.retriever"].custom_properties
    names = (NUM_CHANGED_PROPERTY, NUM_UNKNOWN_PROPERTY, NUM_DROPPED_PROPERTY)
    changed, unknown, dropped = (counts[name].int_value for name in names)
    return [
        f"Changed {changed:,} items; passed over {unknown:,} of no item in the catalogue and {dropped:,} unusable values"
    ]
