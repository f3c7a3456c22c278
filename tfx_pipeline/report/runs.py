"""Finds the figures of a run by what a person calls it: a pushed version, a `metrics.json`, or a root."""

import json
from pathlib import Path
from typing import Any
from typing import NamedTuple

from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.report.files import PUSHED_FOLDER
from tfx_pipeline.retriever_artifact import TUNING_FILE
from tfx_pipeline.retriever_records import read_retrievers

LAST = "last"
"""Names the last run of the root, pushed or not."""


class Run(NamedTuple):
    """The figures of a run, and a name that is short and fits into a file's."""

    name: str
    metrics: dict[str, Any]


def read_last(root: Path) -> dict[str, Any]:
    """The last run's `metrics.json`, with what its retriever's folder knows of the index if the file lacks it.

    Raises:
        ValueError: no run came to an evaluation in the root, or its file is unreadable.
    """
    metrics = _read(root / METRICS_FILE)
    version = metrics.get("index_version")
    if "tuning" not in metrics and version:
        record = read_retrievers(root).get(version)
        file = record.folder / TUNING_FILE if record else None
        if file and file.is_file():
            metrics["tuning"] = json.loads(file.read_text())
    return metrics


def find_run(root: Path, text: str) -> Run:
    """A pushed version of the root, `last`, the path of a `metrics.json`, or the path of another root.

    Raises:
        ValueError: there is no such run, or its file is unreadable.
    """
    if text == LAST:
        return Run(LAST, read_last(root))
    pushed = root / PUSHED_FOLDER / f"{text}.json"
    if text.isdigit() and pushed.is_file():
        return Run(text, _read(pushed))
    path = Path(text)
    if path.is_dir() and (path / METRICS_FILE).is_file():
        return Run(_name(path.resolve().name), read_last(path))
    if path.is_file():
        is_last = path.name == METRICS_FILE
        return Run(_name(path.resolve().parent.name if is_last else path.stem), _read(path))
    known = ", ".join([*known_versions(root), *([LAST] if (root / METRICS_FILE).is_file() else [])]) or "none"
    raise ValueError(
        f"A run must be a version that was pushed in {root} ({known}), a {METRICS_FILE}, or a root. Received: {text!r}"
    )


def known_versions(root: Path) -> list[str]:
    """Of the root's runs that pushed, ascending."""
    return sorted((file.stem for file in (root / PUSHED_FOLDER).glob("*.json")), key=lambda name: (len(name), name))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"A run's figures must be a readable JSON file. Received: {file}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"A run's figures must be a JSON object. Received: {file} with a {type(found).__name__}")
    return found


def _name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_." else "_" for letter in text) or "run"
