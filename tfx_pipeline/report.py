"""What a run leaves for people and scripts: `metrics.json`, the user snapshot and a summary on the console."""

import json
from pathlib import Path
from typing import Any

from tfx_pipeline import strict_json
from tfx_pipeline.atomic import write_text
from tfx_pipeline.components.evaluator import METRICS_FILE
from tfx_pipeline.configs import RunConfig
from tfx_pipeline.run_record import RunRecord
from tfx_pipeline.snapshot import write_snapshot

SNAPSHOT_FILE = "user_snapshot.sqlite"
_PUSHED_FOLDER = "pushed"


def write_metrics(root: Path, record: RunRecord, facts: dict[str, Any], config: RunConfig) -> dict[str, Any]:
    """Writes `ROOT/metrics.json`: the evaluator's figures with the source, the configuration and what was pushed.

    What pushed a version is also kept by its name, for later runs that are refused write `metrics.json` anew.

    Returns:
        The same values; empty when the evaluator did not run, and then nothing is written.
    """
    evaluation = record.uri("RetrievalEvaluator.evaluation")
    if evaluation is None:
        return {}
    metrics = json.loads((evaluation / METRICS_FILE).read_text())
    metrics = {
        "pushed_version": record.pushed_version,
        "data": {key: facts.get(key, "") for key in ("source", "kind", "notice", "set_aside")},
        **metrics,
        "config": config.to_dict(),
    }
    names = [METRICS_FILE] + ([f"{_PUSHED_FOLDER}/{record.pushed_version}.json"] if record.pushed_version else [])
    for name in names:
        write_text(root / name, strict_json.dumps(metrics, indent=2) + "\n")
    return metrics


def read_pushed_metrics(root: Path, version: str) -> dict[str, Any]:
    """What `write_metrics` wrote of the run that pushed a version.

    Raises:
        ValueError: no such run came to its end in the root.
    """
    file = root / _PUSHED_FOLDER / f"{version}.json"
    if not file.is_file():
        raise ValueError(
            f"The run that pushed version {version} has not come to its end: {file} is missing. Repeat that run; what it has "
            "done is in its cache."
        )
    return json.loads(file.read_text())


def write_user_snapshot(root: Path, record: RunRecord, facts: dict[str, Any]) -> None:
    """Writes the snapshot beside the served model."""
    examples = record.uri("MarketplaceExampleGen.examples")
    path = root / "serving" / SNAPSHOT_FILE
    write_snapshot(str(examples), path, source=facts["source"], notice=facts.get("notice", ""))


def summary(metrics: dict[str, Any], *, seconds: float, root: Path) -> str:
    """A table of recall and the facts that a person wants first."""
    data = metrics["data"]
    lines = [
        "",
        f"Pushed version {metrics['pushed_version']} to {root / 'serving'} in {seconds:.0f} s "
        f"({metrics['num_items']:,} items, index {metrics['index']['kind']})",
        f"Data: {data['source']} ({data['kind'] or 'brought by the user'})"
        + (f". {data['notice']}" if data["notice"] else ""),
        "",
        f"{'recall over the whole catalogue':<60}{'@10':>8}{'@100':>8}{'@1000':>8}",
    ]
    for title, section, number in (
        ("eval, each conversion", "eval", "num_rows"),
        ("queries, mean of users", "queries", "num_users"),
    ):
        for kind, values in metrics[section].items():
            whole = kind.removesuffix("_with_history")
            if whole != kind and values[number] == metrics[section][whole][number]:
                continue  # all users have one
            for scorer in ("model", "popularity", "best_possible"):
                if scorer in values:
                    name = f"{title}, {kind.replace('_', ' ')} ({values[number]:,}): {scorer.replace('_', ' ')}"
                    lines.append(f"{name:<60}"[:60] + "".join(map(_figure, values[scorer].values())))
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return f"{'none':>8}" if value is None else f"{value:>8.3f}"
