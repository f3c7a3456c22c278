"""Version directories on disk: which there are, which of them a policy wants, and what tells that one changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Fingerprint = tuple[tuple[str, int, int], ...]

_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are served: the newest, no more than `limit`, only those of `numbers`.

    Attributes:
        limit: How many are served at a time, at least 1; None for all.
        numbers: The only ones that may be served; None for any.
    """

    limit: int | None = 1
    numbers: frozenset[int] | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` on a policy by which nothing could be served."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"a version policy must serve at least 1 version. Received: {self.limit}")
        if self.numbers is not None and (not self.numbers or min(self.numbers) < 0):
            raise ValueError(f"specific versions must be whole numbers, at least one. Received: {sorted(self.numbers)}")


LATEST = VersionPolicy()
"""TF Serving's default."""


def version_directories(base_path: Path, policy: VersionPolicy) -> Iterator[tuple[int, Path]]:
    """Directories below `base_path` of the versions that may be served, the newest first.

    There are none if `base_path` does not exist (yet). Names that are not whole numbers (temporary copies) are ignored.

    Raises:
        OSError: `base_path` exists and cannot be read.
    """
    try:
        entries = list(base_path.iterdir())
    except FileNotFoundError:
        return
    numeric = {int(path.name): path for path in entries if path.name.isascii() and path.name.isdecimal()}
    for number in sorted(numeric, reverse=True):
        is_wanted = policy.numbers is None or number in policy.numbers
        if is_wanted and number <= _MAX_VERSION and numeric[number].is_dir():
            yield number, numeric[number]


def fingerprint(directory: Path) -> Fingerprint:
    """Path, size and modification time of every file: it changes while a copy is in progress."""
    stats = [(str(path), path.stat()) for path in sorted(directory.rglob("*"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
