"""The lock of a root folder: one process at a time works in it."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Holds the root's lock; two runs in one root would mix their metadata and their versions.

    Args:
        root: made if it does not exist.

    Raises:
        ValueError: another process holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"Another run is working in {root}. Wait for it or choose another --root.") from error
        yield
