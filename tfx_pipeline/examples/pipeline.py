"""MarketplaceExamples: the whole way from raw tables to the five splits, the snapshot and the counts."""

import json
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam import pvalue

from schemas import tables
from schemas.features import FeatureGroups
from tfx_pipeline.examples import clean
from tfx_pipeline.examples import items as item_rows
from tfx_pipeline.examples import label_health
from tfx_pipeline.examples import splits
from tfx_pipeline.examples.attribution import AttributeConversions
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.impressions import UnengagedImpressions
from tfx_pipeline.examples.pack import Pack
from tfx_pipeline.examples.performance import DailyVolumes
from tfx_pipeline.examples.performance import sum_volumes
from tfx_pipeline.examples.read import ReadTable
from tfx_pipeline.examples.sessions import Sessions
from tfx_pipeline.examples.types import Period

_OF_ITEMS = (splits.TRAIN, splits.EVAL, item_rows.IMPRESSIONS, item_rows.CATALOG)


class MarketplaceExamples(beam.PTransform):
    """Raw tables of a dataset -> dict of PCollections.

    `train`, `eval`, `impressions`, `catalog`, `queries`: lists of serialized tf.Examples. `snapshot`: `(user_id,
    Attributes)` as of the end of the data. `dead_letters`: JSON lines. `counts`: `(name, number)`. `period`: one Period.
    `measures` and `advertisers`: of LabelHealth and AdvertiserLines.

    Args:
        dataset: folder of the raw tables.
        groups: features of the schema.
        config: options.
        now_us: wall clock, microseconds.
    """

    def __init__(self, dataset: str, groups: FeatureGroups, config: ExamplesConfig, *, now_us: int) -> None:
        super().__init__()
        self._dataset = dataset
        self._groups = groups
        self._config = config
        self._now_us = now_us

    def expand(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
        """Clean; by user: sessions, attribution, histories, split; by item: attributes, performance, rates."""
        events, items, users = self._clean(pipeline)
        period = pvalue.AsSingleton(self._period(events.rows))
        logs = self._logs(events.rows, users.rows, period)
        rows = logs | "TimeSplit" >> splits.TimeSplit(self._groups, self._config, period)
        labels = logs | "LabelHealth" >> label_health.LabelHealth()
        joined = self._item_rows(events.rows, items.rows, rows, labels, period)
        counts = (
            events[clean.COUNTS],
            items[clean.COUNTS],
            users[clean.COUNTS],
            rows[splits.COUNTS],
            joined[clean.COUNTS],
        )
        letters = (t[clean.DEAD_LETTERS] for t in (events, items, users, joined))
        letters = tuple(letters) | "AllDeadLetters" >> beam.Flatten()
        return {
            **{name: joined[name] | f"Shuffle[{name}]" >> splits.Shuffle() for name in _OF_ITEMS},
            splits.QUERIES: rows[splits.QUERIES] | "Shuffle[queries]" >> splits.Shuffle(),
            splits.SNAPSHOT: rows[splits.SNAPSHOT],
            clean.DEAD_LETTERS: letters,
            clean.COUNTS: sum_counts((*counts, counts_by_reason(letters))),
            "period": period.pvalue,
            label_health.MEASURES: labels[label_health.MEASURES],
            label_health.ADVERTISERS: joined[label_health.ADVERTISER_DAYS] | label_health.AdvertiserLines(),
        }

    def _clean(self, pipeline: beam.Pipeline) -> tuple[Any, Any, Any]:
        groups, longest = self._groups, self._config.max_id_length
        cleaners = {
            tables.EVENTS: clean.CleanEvents(
                groups.carried_from(tables.EVENTS), now_us=self._now_us, max_id_length=longest
            ),
            tables.ITEMS: clean.CleanItems(groups.carried_from(tables.ITEMS), max_id_length=longest),
            tables.USERS: clean.CleanUsers(groups.carried_from(tables.USERS), max_id_length=longest),
        }
        events, items, users = (
            pipeline | f"Read[{table}]" >> ReadTable(self._dataset, table) | f"Clean[{table}]" >> cleaner
            for table, cleaner in cleaners.items()
        )
        return events, items, users

    def _period(self, events: beam.PCollection) -> beam.PCollection:
        config = self._config
        return (
            events
            | "Moment" >> beam.Map(lambda rows: max((event[2] for _, event in rows), default=0))
            | "Last" >> beam.CombineGlobally(_latest)
            | "Period" >> beam.Map(lambda last_us: Period(config.cut_us(last_us), last_us))
        )

    def _logs(self, events: beam.PCollection, users: beam.PCollection, period: pvalue.AsSingleton) -> beam.PCollection:
        config = self._config
        return (
            {"events": events | "OfUser" >> beam.FlatMap(_by_user), "attributes": users}
            | "GroupByUser" >> beam.CoGroupByKey()
            | "Sessions" >> Sessions(config)
            | "AttributeConversions" >> AttributeConversions(config)
            | "UnengagedImpressions" >> UnengagedImpressions(config, period)
        )

    def _item_rows(self, events: Any, items: Any, rows: Any, labels: Any, period: pvalue.AsSingleton) -> Any:
        daily = events | "DailyVolumes" >> DailyVolumes()
        market = (
            daily
            | "Day" >> beam.MapTuple(lambda key, volume: (key[1], volume))
            | beam.CombinePerKey(beam.CombineFn.from_callable(sum_volumes))
        )
        positives = rows[splits.POSITIVES] | "PackPositives" >> Pack()
        impressions = rows[splits.IMPRESSIONS] | "PackImpressions" >> Pack()
        samples = self._samples(positives, impressions)
        packs = {
            "attributes": items | "EachItem" >> beam.Map(_alone) | "PackItems" >> Pack(),
            "daily": daily | "EachDay" >> beam.Map(_volume_of_item) | "PackDaily" >> Pack(),
            "samples": samples | "EachSample" >> beam.Map(_alone) | "PackSamples" >> Pack(),
            "positives": positives,
            "impressions": impressions,
            "conversions": labels[label_health.ITEM_DAYS] | "PackConversions" >> Pack(),
        }
        return (packs | "GroupByItem" >> beam.CoGroupByKey()) | "JoinItems" >> item_rows.JoinItems(
            self._groups,
            window_days=self._config.performance_window_days,
            period=period,
            totals=pvalue.AsSingleton(self._totals(samples, items)),
            num_items=pvalue.AsSingleton(
                items | beam.Keys() | beam.Distinct() | "NumItems" >> beam.combiners.Count.Globally()
            ),
            market=pvalue.AsDict(market),
        )

    def _samples(self, positives: beam.PCollection, impressions: beam.PCollection) -> beam.PCollection:
        """`(item_id, (train positives, unengaged impressions))`, from packs."""
        return (
            (
                positives | "CountPositives" >> beam.FlatMapTuple(_count_train_positives),
                impressions | "CountImpressions" >> beam.FlatMapTuple(_count_impressions),
            )
            | "Samples" >> beam.Flatten()
            | "SumSamples" >> beam.CombinePerKey(beam.CombineFn.from_callable(_sum_pairs))
        )

    def _totals(self, samples: beam.PCollection, items: beam.PCollection) -> beam.PCollection:
        """Train positives and unengaged impressions of the catalogue's items: of what is written, what batches hold."""
        return (
            {"samples": samples, "attributes": items}
            | "GroupSamples" >> beam.CoGroupByKey()
            | "InCatalogue" >> beam.Filter(lambda element: any(True for _ in element[1]["attributes"]))
            | "SamplesOfItem" >> beam.FlatMap(lambda element: element[1]["samples"])
            | "Totals" >> beam.CombineGlobally(_sum_pairs)
        )


def _by_user(rows: list[tuple[str, tuple]]) -> Iterable[tuple[str, list[tuple]]]:
    found: dict[str, list[tuple]] = defaultdict(list)
    for user_id, event in rows:
        found[user_id].append(event)
    return found.items()


def _count_train_positives(_: int, pack: list[tuple[str, tuple]]) -> list[tuple[str, tuple[int, int]]]:
    counted = Counter(item_id for item_id, (split, *_) in pack if split == splits.TRAIN)
    return [(item_id, (number, 0)) for item_id, number in counted.items()]


def _count_impressions(_: int, pack: list[tuple[str, int]]) -> list[tuple[str, tuple[int, int]]]:
    return [(item_id, (0, number)) for item_id, number in Counter(item_id for item_id, _ in pack).items()]


def _alone(row: Any) -> list[Any]:
    return [row]


def _volume_of_item(row: tuple[tuple[str, int], tuple]) -> list[tuple[str, tuple]]:
    (item_id, day), volume = row
    return [(item_id, (day, volume))]


def _latest(moments: Any) -> int:
    return max(moments, default=0)


def _sum_pairs(pairs: Any) -> tuple[int, int]:
    first = second = 0
    for pair in pairs:
        first += pair[0]
        second += pair[1]
    return first, second


def sum_counts(counts: tuple[beam.PCollection, ...]) -> beam.PCollection:
    """`(name, number)` of several collections -> one number a name."""
    return counts | "AllCounts" >> beam.Flatten() | "SumCounts" >> beam.CombinePerKey(beam.CombineFn.from_callable(sum))


def counts_by_reason(letters: beam.PCollection) -> beam.PCollection:
    """Dead letters -> `(name, 1)` of each."""
    return letters | "Reason" >> beam.Map(_reason_of)


def _reason_of(letter: str) -> tuple[str, int]:
    fields = json.loads(letter)
    return f"dead_letters.{fields['table']}.{fields['reason']}", 1
