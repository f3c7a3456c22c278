"""Pack: many rows in one element, because Beam's cost of an element exceeds that of the work on a row."""

import pickle
import zlib
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

NUM_BUCKETS = 256
_ROWS_HELD = 10_000
_CODEC = ("zstd", 1)  # a third of zlib's time on such rows, and smaller


class Rows(list):
    """A list that is pickled compressed, and so travels between Beam's stages: rows repeat their users' histories.

    Beam's runner in one process holds what is between stages in memory: the 1.5 million rows of a year of The Complete Journey did
    not fit 24 GB.
    """

    def __reduce__(self) -> tuple:
        pickled = pickle.dumps(list(self), pickle.HIGHEST_PROTOCOL)
        return _read_rows, (_codec().compress(pickled, asbytes=True), len(pickled))


def _read_rows(compressed: bytes, size: int) -> Rows:
    return Rows(pickle.loads(_codec().decompress(compressed, decompressed_size=size)))


@lru_cache
def _codec() -> pa.Codec:
    name, level = _CODEC
    return pa.Codec(name, compression_level=level)


class Pack(beam.PTransform):
    """Lists of `(key, value)` -> `(bucket, [(key, value), ...])`; a key, str or bytes, is always in the same bucket.

    A worker holds 10,000 rows and one list. What groups by bucket may hold a bucket's small rows, and streams large ones.
    """

    def expand(self, lists: beam.PCollection) -> beam.PCollection:
        """Collects rows within a bundle."""
        return lists | "Collect" >> beam.ParDo(_PackFn())


class _PackFn(beam.DoFn):
    def start_bundle(self) -> None:
        self._packs: dict[int, Rows] = defaultdict(Rows)
        self._num_held = 0

    def process(self, rows: list[tuple[str | bytes, Any]]) -> Iterator[Any]:
        """Holds the rows; emits all that is held when that is enough."""
        for row in rows:
            self._packs[bucket_of(row[0])].append(row)
        self._num_held += len(rows)
        if self._num_held >= _ROWS_HELD:
            yield from self._take()

    def finish_bundle(self) -> Iterator[Any]:
        """Emits the rest."""
        yield from map(GlobalWindows.windowed_value, self._take())

    def _take(self) -> list[tuple[int, Rows]]:
        packs = sorted(self._packs.items())  # the order of the buckets must not follow that of the rows
        self.start_bundle()
        return packs


def bucket_of(key: str | bytes) -> int:
    """From 0 to NUM_BUCKETS - 1, evenly."""
    return zlib.crc32(key.encode() if isinstance(key, str) else key) % NUM_BUCKETS
