"""Pack: many rows in one element, because Beam's cost of an element exceeds that of the work on a row."""

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

NUM_BUCKETS = 256
_ROWS_HELD = 10_000


class Pack(beam.PTransform):
    """Lists of `(key, value)` -> `(bucket, [(key, value), ...])`; a key, str or bytes, is always in the same bucket.

    A worker holds 10,000 rows and one list. What groups by bucket may hold a bucket's small rows, and streams large ones.
    """

    def expand(self, lists: beam.PCollection) -> beam.PCollection:
        """Collects rows within a bundle."""
        return lists | "Collect" >> beam.ParDo(_PackFn())


class _PackFn(beam.DoFn):
    def start_bundle(self) -> None:
        self._packs: dict[int, list] = defaultdict(list)
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

    def _take(self) -> list[tuple[int, list]]:
        packs = sorted(self._packs.items())  # the order of the buckets must not follow that of the rows
        self.start_bundle()
        return packs


def bucket_of(key: str | bytes) -> int:
    """From 0 to NUM_BUCKETS - 1, evenly."""
    return zlib.crc32(key.encode() if isinstance(key, str) else key) % NUM_BUCKETS
