"""TFRecord files that a reader never sees half-written: rotated by size and age, and named when whole. Imports TensorFlow."""

import itertools
import os
import socket
import time
from pathlib import Path

import tensorflow as tf

_NUMBERS = itertools.count(1)
"""Of this process: two objects may have one prefix."""
_FRAME_BYTES = 16
"""Of a record's length and checksums."""


class RotatingRecords:
    """Writes `<prefix>.log.<UTC time>-<host>-<process>-<number>`; an open file is hidden, as `.<prefix>.partial.<…>`.

    For one thread. Each method raises `OSError` or `tf.errors.OpError` where the file system does; then `abandon` leaves
    the open file under its partial name, and the next record starts another.

    Args:
        prefix: Path that all names begin with; its folder must exist.
        max_bytes: A file of this size is due to be closed.
        max_age_s: So is a file this many seconds after its first record.
    """

    def __init__(self, prefix: str, *, max_bytes: int, max_age_s: float) -> None:
        self._prefix = prefix
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._num_bytes = 0
        self._opened_s = 0.0
        self._path: Path | None = None
        self._writer: tf.io.TFRecordWriter | None = None
        self._num_records = 0

    def seconds_left(self) -> float | None:
        """Until the open file is due; None without one."""
        if self._writer is None:
            return None
        is_full = self._num_bytes >= self._max_bytes
        return 0.0 if is_full else max(0.0, self._opened_s + self._max_age_s - time.monotonic())

    def write(self, record: bytes) -> None:
        """Appends one record."""
        if self._writer is None:
            self._open()
        self._writer.write(record)  # type: ignore[union-attr]
        self._num_records += 1
        self._num_bytes += len(record) + _FRAME_BYTES

    def close(self) -> None:
        """Gives the open file, if there is one, its name."""
        if self._writer is None or self._path is None:
            return
        self._writer.close()
        partial = _partial(self._path)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(self._path)
        self._forget()

    def abandon(self) -> int:
        """Gives the open file up after an error; returns how many records were in it."""
        lost = self._num_records
        self._forget()
        return lost

    def _open(self) -> None:
        moment = time.strftime("%Y%m%d%H%M%S", time.gmtime())
        # The host too: in containers that share a volume every server may be process 1.
        name = f"{moment}-{socket.gethostname()}-{os.getpid()}-{next(_NUMBERS):06d}"
        self._path = Path(f"{self._prefix}.log.{name}")
        self._writer = tf.io.TFRecordWriter(str(_partial(self._path)))
        self._opened_s = time.monotonic()

    def _forget(self) -> None:
        self._path = self._writer = None
        self._num_records = self._num_bytes = 0


def _partial(path: Path) -> Path:
    """A name that neither `<prefix>.log.*` nor `*.log.*` matches: some globs find hidden files too."""
    return path.with_name(f".{path.name.replace('.log.', '.partial.')}")
