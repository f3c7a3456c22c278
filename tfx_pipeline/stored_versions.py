"""Versions below a serving folder: those that a model server sees, and those that were put aside.

TF Serving serves the largest number, and passes over names that are no number.
"""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from schemas import contract

RETIRED = "retired-"
"""Before the number of a version that a rollback put aside."""
PARTIAL = "partial-"
"""Before the number of a version that is being copied or deleted."""
_NAME = re.compile(rf"({RETIRED})?([1-9][0-9]*)")


class StoredVersion(NamedTuple):
    """A version on disk."""

    number: int
    path: Path
    is_retired: bool


def serving_folder(root: Path) -> Path:
    """The folder of a root's versions, a model server's base path."""
    return root / "serving" / contract.MODEL_NAME


def stored_versions(base: Path) -> list[StoredVersion]:
    """All versions, retired ones too, ascending.

    Raises:
        ValueError: a number that is there twice, retired and not.
    """
    matches = [(path, _NAME.fullmatch(path.name)) for path in base.iterdir() if path.is_dir()]
    found = sorted(StoredVersion(int(match[2]), path, bool(match[1])) for path, match in matches if match)
    for one, other in itertools.pairwise(found):
        if one.number == other.number:
            raise ValueError(f"A version must be in {base} once. Received: {one.path.name} and {other.path.name}")
    return found


def served_number(versions: Iterable[StoredVersion]) -> int | None:
    """The version that a model server serves by default; None without any."""
    return max((version.number for version in versions if not version.is_retired), default=None)


def missing_files(model: Path) -> list[str]:
    """What a SavedModel's folder lacks, by the names of what is there; a copy that was broken off lacks something."""
    shards = {path.name for path in model.glob("variables/variables.data-*-of-*")}
    number = max((int(name.rsplit("-", 1)[1]) for name in shards), default=1)
    expected = {f"variables/variables.data-{shard:05d}-of-{number:05d}" for shard in range(number)}
    expected |= {"saved_model.pb", "variables/variables.index"}
    return sorted(name for name in expected if not (model / name).is_file())
