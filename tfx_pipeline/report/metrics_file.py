"""`metrics.json`: the figures of a run, for people and scripts."""

import json
from pathlib import Path
from typing import Any

from tfx_pipeline import strict_json
from tfx_pipeline.atomic import write_text
from tfx_pipeline.configs import RunConfig
from tfx_pipeline.report.files import HEALTH_FILE
from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.report.files import PUSHED_FOLDER
from tfx_pipeline.report.versions import installed_versions
from tfx_pipeline.retriever_artifact import TUNING_FILE
from tfx_pipeline.run_record import RunRecord
from trainer.training_file import TRAINING_FILE

_MEASURED = {  # by key of metrics.json: component and file
    "health": ("DataHealth", HEALTH_FILE),
    "training": ("Trainer", TRAINING_FILE),
    "tuning": ("Indexer", TUNING_FILE),
}


def write_metrics(
    root: Path, record: RunRecord, facts: dict[str, Any], config: RunConfig, *, stopped: str = ""
) -> dict[str, Any]:
    """Writes `ROOT/metrics.json`: what the components measured, the source, the configuration, versions, and the push.

    What pushed a version is also kept by its name, for later runs that are refused write `metrics.json` anew.

    Args:
        root: of the run.
        record: of the run.
        facts: of the source.
        config: of the run.
        stopped: why the run broke off before its end, if it did.

    Returns:
        The same values; empty when nothing was measured, and then nothing is written.
    """
    evaluation = record.uri("RetrievalEvaluator.evaluation")
    measured = {key: value for key in _MEASURED if (value := _read(record, *_MEASURED[key])) is not None}
    if evaluation is None and not (stopped and measured):
        return {}
    metrics = {
        "pushed_version": record.pushed_version,
        **({"stopped": stopped} if stopped else {}),
        "data": {key: facts.get(key, "") for key in ("source", "kind", "notice", "set_aside")},
        **(json.loads((evaluation / METRICS_FILE).read_text()) if evaluation else {}),
        **measured,
        "versions": installed_versions(),
        "config": config.to_dict(),
    }
    names = [METRICS_FILE] + ([f"{PUSHED_FOLDER}/{record.pushed_version}.json"] if record.pushed_version else [])
    for name in names:
        write_text(root / name, strict_json.dumps(metrics, indent=2) + "\n")
    return metrics


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


def _read(record: RunRecord, component: str, name: str) -> Any:
    """A file among what a component gave out; None where there is none."""
    folders = [Path(found.uri) for key, found in record.artifacts.items() if key.startswith(f"{component}.")]
    return next((json.loads((folder / name).read_text()) for folder in folders if (folder / name).is_file()), None)
