"""`metrics.json`: the figures of a run, for people and scripts."""

import json
from pathlib import Path
from typing import Any

from tfx_pipeline import strict_json
from tfx_pipeline.atomic import write_text
from tfx_pipeline.components.evaluator import METRICS_FILE
from tfx_pipeline.configs import RunConfig
from tfx_pipeline.health.report import HEALTH_FILE
from tfx_pipeline.run_record import RunRecord

_PUSHED_FOLDER = "pushed"
_FACTS = ("source", "kind", "notice", "set_aside")


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
        "data": {key: facts.get(key, "") for key in _FACTS},
        **metrics,
        **_health(record),
        "config": config.to_dict(),
    }
    names = [METRICS_FILE] + ([f"{_PUSHED_FOLDER}/{record.pushed_version}.json"] if record.pushed_version else [])
    for name in names:
        write_text(root / name, strict_json.dumps(metrics, indent=2) + "\n")
    return metrics


def write_blocked_metrics(root: Path, record: RunRecord, facts: dict[str, Any], config: RunConfig) -> None:
    """Writes `ROOT/metrics.json` of a run that data health stopped, with what stopped it; nothing of any other run."""
    health = _health(record)
    if health and health["health"]["is_blocked"]:
        data = {key: facts.get(key, "") for key in _FACTS}
        metrics = {"pushed_version": None, "data": data, **health, "config": config.to_dict()}
        write_text(root / METRICS_FILE, strict_json.dumps(metrics, indent=2) + "\n")


def _health(record: RunRecord) -> dict[str, Any]:
    """What DataHealth wrote, under its key."""
    uri = record.uri("DataHealth.health")
    return {"health": json.loads((uri / HEALTH_FILE).read_text())} if uri else {}


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
