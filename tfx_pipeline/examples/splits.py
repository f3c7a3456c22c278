"""TimeSplit: which split a positive belongs to, and each user's rows."""

import hashlib
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import chain
from typing import Any
from typing import NamedTuple

import apache_beam as beam

from schemas import tables
from schemas.features import FeatureGroups
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.encode import encode
from tfx_pipeline.examples.history import UserHistory
from tfx_pipeline.examples.history import context_features
from tfx_pipeline.examples.history import time_features
from tfx_pipeline.examples.pack import Pack
from tfx_pipeline.examples.types import Attributes
from tfx_pipeline.examples.types import Period
from tfx_pipeline.examples.types import Positive
from tfx_pipeline.examples.types import UserLog

POSITIVES = "positives"
IMPRESSIONS = "impressions"
QUERIES = "queries"
SNAPSHOT = "snapshot"
COUNTS = "counts"
TRAIN = "train"
EVAL = "eval"
_ROWS_PER_LIST = 1_000


class PositiveRow(NamedTuple):
    """A positive on its way to its item: split, day of the touch (from 1970, UTC) and the encoded query part."""

    split: str
    day: int
    query_part: bytes


def split_of(positive: Positive, period: Period, *, train_days: float) -> str | None:
    """`train`, `eval` or None.

    Training knows neither a touch nor a conversion at or after the cut; evaluation asks only at or after it. A
    conversion after the cut of a touch before it is in neither.
    """
    if positive.touch.timestamp_us >= period.cut_us:
        return EVAL
    if positive.event.timestamp_us >= period.cut_us:
        return None
    if train_days and positive.touch.timestamp_us < period.cut_us - train_days * MICROSECONDS_PER_DAY:
        return None
    return TRAIN


class TimeSplit(beam.PTransform):
    """UserLog with positives -> tagged rows.

    `positives` lists of `(item_id, PositiveRow as a tuple)`, `impressions` lists of `(item_id, day)`, `queries` lists of
    encoded rows, `snapshot` `(user_id, Attributes)`, `counts` `(name, number)`.
    """

    def __init__(self, groups: FeatureGroups, config: ExamplesConfig, period: beam.pvalue.AsSingleton) -> None:
        super().__init__()
        self._groups = groups
        self._config = config
        self._period = period

    def expand(self, logs: beam.PCollection) -> Any:
        """One pass over each user's log."""
        rows = beam.ParDo(_RowsFn(self._groups, self._config), self._period)
        return logs | "Rows" >> rows.with_outputs(POSITIVES, IMPRESSIONS, QUERIES, SNAPSHOT, COUNTS)


class _RowsFn(beam.DoFn):
    def __init__(self, groups: FeatureGroups, config: ExamplesConfig) -> None:
        self._groups = groups
        self._config = config

    def process(self, log: UserLog, period: Period) -> Iterator[Any]:
        """Emits every row that comes from one user."""
        history = UserHistory(log, self._groups, length=self._config.history_length)
        yield beam.pvalue.TaggedOutput(POSITIVES, list(self._positives(log, history, period)))
        impressions = [(event.item_id, event.timestamp_us // MICROSECONDS_PER_DAY) for event in log.unengaged]
        yield beam.pvalue.TaggedOutput(IMPRESSIONS, impressions)
        if targets := history.converted_since(period.cut_us):
            row = self._query(log, history, period, targets)
            yield beam.pvalue.TaggedOutput(QUERIES, [encode(row)])
        yield beam.pvalue.TaggedOutput(SNAPSHOT, (log.user_id, history.features(period.last_us + 1)))
        for name, number in log.counts.items():
            yield beam.pvalue.TaggedOutput(COUNTS, (name, number))

    def _positives(self, log: UserLog, history: UserHistory, period: Period) -> Iterator[tuple[str, tuple]]:
        shared_us, shared = None, b""
        for positive in log.positives:
            split = split_of(positive, period, train_days=self._config.train_days)
            log.count(f"positives.{split}" if split else "positives.dropped.straddles_cut_or_too_old")
            if split is None:
                continue
            moment_us = positive.touch.timestamp_us
            if moment_us != shared_us:  # lines of one basket share the history
                length = self._config.train_history_length if split == TRAIN else 0
                query = {"user_id": log.user_id, **history.features(moment_us, length=length)}
                shared_us, shared = moment_us, encode(query)
            own = {**context_features(positive.touch, self._groups), **self._labels(positive, history)}
            row = PositiveRow(split, moment_us // MICROSECONDS_PER_DAY, shared + encode(own))
            yield positive.event.item_id, tuple(row)

    def _labels(self, positive: Positive, history: UserHistory) -> Attributes:
        event, moment_us = positive.event, positive.touch.timestamp_us
        labels: Attributes = {
            "timestamp_us": moment_us,
            "task": "conversion" if event.is_conversion else "engagement",
            "event": event.event,
            "is_repeat": int(history.is_repeat(event.item_id, moment_us)),
        }
        if event.duration_s is not None:
            labels["click_duration_s"] = event.duration_s
        if event.value is not None and event.is_conversion:
            labels["value"] = event.value
        return labels

    def _query(self, log: UserLog, history: UserHistory, period: Period, targets: set[str]) -> Attributes:
        row = {"user_id": log.user_id, "timestamp_us": period.cut_us, **history.features(period.cut_us)}
        context = {"surface": tables.SURFACE_UNKNOWN, **time_features(period.cut_us)}
        row.update({name: value for name, value in context.items() if name in self._groups})
        row["target_item_ids"] = sorted(targets)
        row["known_item_ids"] = sorted(history.converted_before(period.cut_us))
        return row


class Shuffle(beam.PTransform):
    """Puts the serialized rows of lists in an order that depends on their content only, in lists of 1,000 at most.

    Rows come item by item, and Beam's Reshuffle spreads them over workers without mixing them: unmixed, a batch would
    hold few distinct items, and in-batch negatives would not follow the sampling rates that logQ corrects for. Rows are
    sorted by hash within buckets; a worker holds one bucket.
    """

    def expand(self, lists: beam.PCollection) -> beam.PCollection:
        """Hash, group, sort."""
        return (
            lists
            | "Hash" >> beam.Map(_hashed)
            | "Pack" >> Pack()
            | "Bucket" >> beam.GroupByKey()
            | "Sort" >> beam.FlatMapTuple(_sorted)
        )


def _hashed(rows: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [(hashlib.blake2b(row, digest_size=8).digest(), row) for row in rows]


def _sorted(_: int, packs: Iterable[list[tuple[bytes, bytes]]]) -> Iterator[list[bytes]]:
    rows = [row for _, row in sorted(chain.from_iterable(packs))]
    return (rows[start : start + _ROWS_PER_LIST] for start in range(0, len(rows), _ROWS_PER_LIST))
