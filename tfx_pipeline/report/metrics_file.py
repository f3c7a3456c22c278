"""`metrics.json`: the figures of a run, for people and scripts."""

import json
from pathlib import Path
from typing import Any

from tfx_pipeline import strict_json
from tfx_pipeline.atomic import write_text
from tfx_pipeline.configs import RunConfig
from tfx_pipeline.health.report import HEALTH_FILE
from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.report.files import PUSHED_FOLDER
from tfx_pipeline.report.versions import installed_versions
from tfx_pipeline.retriever_artifact import TUNING_FILE
from tfx_pipeline.run_record import RunRecord
from trainer.training_file import TRAINING_FILE

_FACTS = ("source", "kind", "notice", "set_aside")
_MEASURED = {  # by key of metrics.json: output artifact and file
    "health": ("DataHealth.health", HEALTH_FILE),
    "training": ("Trainer.model_run", TRAINING_FILE),
    "tuning": ("Indexer.retriever", TUNING_FILE),
}


def write_metrics(root: Path, record: RunRecord, facts: dict[str, Any], config: RunConfig) -> dict[str, Any]:
    """Writes `ROOT/metrics.json`: what the components measured, the source, versions, the configuration and the push.

    What pushed a version is also kept by its name, for later runs that are refused write `metrics.json` anew.

    Returns:
        The same values; empty when the evaluator did not run, and then nothing is written.
    """
    evaluation = record.uri("RetrievalEvaluator.evaluation")
    if evaluation is None:
        return {}
    names = [METRICS_FILE] + ([f"{PUSHED_FOLDER}/{record.pushed_version}.json"] if record.pushed_version else [])
    found = json.loads((evaluation / METRICS_FILE).read_text())
    return _write(root, names, _joined(record, facts, config, {**found, **_measured(record)}))


def write_blocked_metrics(
    root: Path, record: RunRecord, facts: dict[str, Any], config: RunConfig, *, reason: str = ""
) -> dict[str, Any]:
    """Writes `ROOT/metrics.json` of a run that data health stopped, with what stopped it; nothing of any other run.

    Returns:
        The same values; empty when nothing was written.
    """
    measured = _measured(record)
    if not measured.get("health", {}).get("is_blocked"):
        return {}
    return _write(root, [METRICS_FILE], _joined(record, facts, config, {"stopped": reason, **measured}))


def read_pushed_metrics(root: Path, version: str) -> dict[str, Any]:
    """What `write_metrics` wrote of the run that pushed a version.

    Raises:
        ValueError: no such run came to its end in the root.
    """
    file = root / PUSHED_FOLDER / f"{version}.json"
    if not file.is_file():
        raise ValueError(
            f"The run that pushed version {version} has not come to its end: {file} is missing. Repeat that run; what it has "
            "done is in its cache."
        )
    return json.loads(file.read_text())


def _joined(record: RunRecord, facts: dict[str, Any], config: RunConfig, found: dict[str, Any]) -> dict[str, Any]:
    """What was found, between what was pushed and read, and how."""
    return {
        "pushed_version": record.pushed_version,
        "data": {key: facts.get(key, "") for key in _FACTS},
        **found,
        "seconds": record.seconds,
        "versions": installed_versions(),
        "config": config.to_dict(),
    }


def _measured(record: RunRecord) -> dict[str, Any]:
    """What components beside the evaluator left in files; a run from before they did has none."""
    files = {name: folder / file for name, (key, file) in _MEASURED.items() if (folder := record.uri(key))}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def _write(root: Path, names: list[str], metrics: dict[str, Any]) -> dict[str, Any]:
    for name in names:
        write_text(root / name, strict_json.dumps(metrics, indent=2) + "\n")
    return metrics
