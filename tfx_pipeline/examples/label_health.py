"""LabelHealth: conversions by day, by advertiser and by lag, in sums that any runner can make."""

import json
import math
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindows

from tfx_pipeline.examples.config import MICROSECONDS
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.types import Attributes
from tfx_pipeline.examples.types import UserLog

MEASURES = "measures"
ITEM_DAYS = "item_days"
ADVERTISER_DAYS = "advertiser_days"
ADVERTISERS = "advertisers"
LABELS_FILE = "labels.json"
ADVERTISERS_FOLDER = "advertisers"
_ADVERTISER = "advertiser_id"
_DAY, _LAG, _TOUCHES = "day", "lag", "touches"
_BUCKETS_PER_E = 100
_SELF = "self"
_NONE = "none"


class LabelHealth(beam.PTransform):
    """UserLogs with their positives -> `measures` and `item_days`.

    `measures`: `((kind, number), (n, m))`. A day since 1970: its distinct conversions and the users who made them. A lag's
    bucket: conversions with that lag. And the number of touches. A worker holds one number per day and bucket.
    `item_days`: a list of `(item_id, (day, conversions))` per user, for `advertiser_days`.
    """

    def expand(self, logs: beam.PCollection) -> Any:
        """One pass over each user's log, and sums."""
        found = logs | "MeasureLabels" >> beam.ParDo(_MeasureFn()).with_outputs(ITEM_DAYS, main=MEASURES)
        measures = found[MEASURES] | "SumMeasures" >> beam.CombinePerKey(beam.CombineFn.from_callable(_sum_pairs))
        return {MEASURES: measures, ITEM_DAYS: found[ITEM_DAYS]}


class _MeasureFn(beam.DoFn):
    def start_bundle(self) -> None:
        self._sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])

    def process(self, log: UserLog) -> Iterator[Any]:
        """Adds the log to the bundle's sums; emits its conversions by item and day."""
        item_days = Counter((e.item_id, e.timestamp_us // MICROSECONDS_PER_DAY) for e in log.events if e.is_conversion)
        for (_, day), number in item_days.items():
            self._sums[_DAY, day][0] += number
        for day in {day for _, day in item_days}:
            self._sums[_DAY, day][1] += 1
        for positive in log.positives:
            if positive.attribution not in (_SELF, _NONE):
                lag_us = positive.event.timestamp_us - positive.touch.timestamp_us
                self._sums[_LAG, bucket_of_lag(lag_us / MICROSECONDS)][0] += 1
        self._sums[_TOUCHES, 0][0] += sum(not event.is_conversion for event in log.events)
        if item_days:
            rows = [(item_id, (day, number)) for (item_id, day), number in item_days.items()]
            yield beam.pvalue.TaggedOutput(ITEM_DAYS, rows)

    def finish_bundle(self) -> Iterator[Any]:
        """Emits the sums."""
        for key, (first, second) in self._sums.items():
            yield GlobalWindows.windowed_value((key, (first, second)))


def advertiser_days(
    attributes: dict[str, list[Attributes]], packs: Iterable[list[tuple[str, tuple[int, int]]]]
) -> Iterator[Any]:
    """Conversions of a bucket's items -> tagged `((advertiser, day), conversions)`, of items that have an advertiser.

    Args:
        attributes: of the bucket's items.
        packs: of `item_days`.
    """
    found: Counter = Counter()
    for pack in packs:
        for item_id, (day, number) in pack:
            of_item = attributes.get(item_id)
            if of_item and (advertiser := of_item[0].get(_ADVERTISER)):
                found[advertiser, day] += number
    for element in found.items():
        yield beam.pvalue.TaggedOutput(ADVERTISER_DAYS, element)


class AdvertiserLines(beam.PTransform):
    """`((advertiser, day), conversions)` -> one JSON line per advertiser with its days; memory holds one advertiser's days."""

    def expand(self, days: beam.PCollection) -> beam.PCollection:
        """Sums, groups by advertiser, writes lines."""
        return (
            days
            | "SumDays" >> beam.CombinePerKey(beam.CombineFn.from_callable(sum))
            | "OfAdvertiser" >> beam.MapTuple(lambda key, number: (key[0], (key[1], number)))
            | "GroupDays" >> beam.GroupByKey()
            | "AdvertiserLine" >> beam.MapTuple(_advertiser_line)
        )


def _advertiser_line(advertiser: str, days: Iterable[tuple[int, int]]) -> str:
    return json.dumps({"advertiser_id": advertiser, "days": sorted(map(list, days))}, ensure_ascii=False)


def write_labels(_: Any, measures: dict[tuple[str, int], tuple[int, int]], path: str) -> None:
    """Writes what `read_labels` reads."""
    ordered = sorted(measures.items())
    labels = {
        "days": [[day, *pair] for (kind, day), pair in ordered if kind == _DAY],
        "lags": [[bucket, pair[0]] for (kind, bucket), pair in ordered if kind == _LAG],
        "num_touches": measures.get((_TOUCHES, 0), (0, 0))[0],
    }
    with FileSystems.create(path) as file:
        file.write(json.dumps(labels).encode())


def read_labels(examples_uri: str) -> dict[str, Any]:
    """`days` of `[day, conversions, users]` and `lags` of `[bucket, conversions]`, ascending, and `num_touches`."""
    with FileSystems.open(FileSystems.join(examples_uri, LABELS_FILE)) as file:
        return json.loads(file.read())


def read_advertisers(examples_uri: str) -> Iterator[tuple[str, list[list[int]]]]:
    """Each advertiser with its `[day, conversions]`, ascending, one at a time."""
    (matched,) = FileSystems.match([FileSystems.join(examples_uri, ADVERTISERS_FOLDER, "part*")])
    for shard in sorted(matched.metadata_list, key=lambda found: found.path):
        with FileSystems.open(shard.path) as file:
            for line in iter(file.readline, b""):  # Beam's compressed files are no iterators
                fields = json.loads(line)
                yield fields["advertiser_id"], fields["days"]


def bucket_of_lag(seconds: float) -> int:
    """Buckets are 1% wide, so that percentiles are right to 0.5% and a year has 1,800 of them."""
    return round(_BUCKETS_PER_E * math.log1p(seconds))


def lag_of_bucket(bucket: int) -> float:
    """Middle of the bucket, seconds."""
    return math.expm1(bucket / _BUCKETS_PER_E)


def _sum_pairs(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first = second = 0
    for pair in pairs:
        first += pair[0]
        second += pair[1]
    return first, second
