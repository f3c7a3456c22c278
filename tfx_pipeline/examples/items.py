"""JoinItems: positives, impressions and the catalogue with item attributes, performance and sampling rates."""

from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import chain
from typing import Any

import apache_beam as beam

from schemas import tables
from schemas.features import FeatureGroups
from tfx_pipeline.examples.clean import COUNTS
from tfx_pipeline.examples.clean import DEAD_LETTERS
from tfx_pipeline.examples.clean import dead_letter
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.encode import encode
from tfx_pipeline.examples.label_health import ADVERTISER_DAYS
from tfx_pipeline.examples.label_health import advertiser_days
from tfx_pipeline.examples.performance import TrailingVolumes
from tfx_pipeline.examples.performance import Volume
from tfx_pipeline.examples.performance import performance_features
from tfx_pipeline.examples.splits import EVAL
from tfx_pipeline.examples.splits import TRAIN
from tfx_pipeline.examples.splits import PositiveRow
from tfx_pipeline.examples.types import Attributes
from tfx_pipeline.examples.types import Period

CATALOG = "catalog"
IMPRESSIONS = "impressions"


class JoinItems(beam.PTransform):
    """`(bucket, {attributes, daily, samples, positives, impressions, conversions})`, packs by item -> lists of encoded rows.

    Outputs are tagged `train`, `eval`, `impressions`, `catalog` and `advertiser_days`; positives and impressions of an item that is
    not in the catalogue are dead letters. Positives are streamed: memory holds one bucket's item attributes, daily
    volumes and encoded item parts.

    Args:
        groups: features of the schema.
        window_days: trailing window of the performance features.
        sides: side inputs `period`, `totals` (train positives, impressions), `num_items` and `market` (day -> Volume).
    """

    def __init__(self, groups: FeatureGroups, *, window_days: int, **sides: beam.pvalue.AsSideInput) -> None:
        super().__init__()
        self._do_fn = _JoinFn(groups, window_days)
        self._sides = sides

    def expand(self, grouped: beam.PCollection) -> Any:
        """One pass over each bucket of items."""
        rows = beam.ParDo(self._do_fn, **self._sides)
        return grouped | "Join" >> rows.with_outputs(
            TRAIN, EVAL, IMPRESSIONS, CATALOG, ADVERTISER_DAYS, DEAD_LETTERS, COUNTS
        )


class _JoinFn(beam.DoFn):
    def __init__(self, groups: FeatureGroups, window_days: int) -> None:
        self._names = {feature.name for feature in groups.item}
        self._window_days = window_days

    def process(
        self,
        element: tuple[int, dict[str, Any]],
        period: Period,
        totals: tuple[int, int],
        num_items: int,
        market: dict[int, Volume],
    ) -> Iterator[Any]:
        """Emits every row of one bucket's items."""
        _, group = element
        attributes = _by_item(group["attributes"])
        for item_id, found in attributes.items():
            found.sort(key=repr)
            yield from duplicates(item_id, found[1:])
        yield from advertiser_days(attributes, group["conversions"])
        rates = {item_id: _rates(pairs, totals) for item_id, pairs in _by_item(group["samples"]).items()}
        daily = _by_item(group["daily"])
        of_market = TrailingVolumes(market.items(), window_days=self._window_days)
        parts = {
            item_id: _ItemParts(
                {"item_id": item_id, **found[0], **rates.get(item_id, _rates([], totals))},
                TrailingVolumes(daily.get(item_id, []), window_days=self._window_days),
                of_market,
                num_items=num_items,
                names=self._names,
            )
            for item_id, found in attributes.items()
        }
        cut_day = period.cut_us // MICROSECONDS_PER_DAY
        yield beam.pvalue.TaggedOutput(CATALOG, [of_item.as_of(cut_day) for of_item in parts.values()])
        strangers: dict[str, Counter] = defaultdict(Counter)
        for pack in group["positives"]:
            strangers["positives"].update(item_id for item_id, _ in pack if item_id not in parts)
            yield from _joined_positives(pack, parts)
        for pack in group["impressions"]:
            strangers["impressions"].update(item_id for item_id, _ in pack if item_id not in parts)
            shown = [parts[item_id].as_of(day) for item_id, day in pack if item_id in parts]
            yield beam.pvalue.TaggedOutput(IMPRESSIONS, shown)
        yield from _not_in_catalogue(strangers["positives"], strangers["impressions"])


def _joined_positives(pack: list[tuple[str, tuple]], parts: "dict[str, _ItemParts]") -> Iterator[Any]:
    joined: dict[str, list[bytes]] = {TRAIN: [], EVAL: []}
    for item_id, row in pack:
        if item_id in parts:
            positive = PositiveRow(*row)
            joined[positive.split].append(positive.query_part + parts[item_id].as_of(positive.day))
    for split, rows in joined.items():
        yield beam.pvalue.TaggedOutput(split, rows)


def _by_item(packs: Iterable[list[tuple[str, Any]]]) -> dict[str, list]:
    found: dict[str, list] = defaultdict(list)
    for item_id, value in chain.from_iterable(packs):
        found[item_id].append(value)
    return found


def duplicates(item_id: str, dropped: list[Attributes]) -> Iterator[Any]:
    """Dead letters and the count of an item's further rows."""
    if dropped:
        yield beam.pvalue.TaggedOutput(COUNTS, ("items.dropped.duplicate_item", len(dropped)))
    for attributes in dropped:
        letter = dead_letter(tables.ITEMS, "duplicate_item", "join", {"item_id": item_id, **attributes})
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)


def _not_in_catalogue(positives: Counter, impressions: Counter) -> Iterator[Any]:
    for item_id, number in (positives + impressions).items():
        row = {"item_id": item_id, "positives": positives[item_id], "impressions": impressions[item_id]}
        letter = dead_letter(tables.EVENTS, "item_not_in_catalogue", "join", row)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        yield beam.pvalue.TaggedOutput(COUNTS, ("events.dropped.item_not_in_catalogue", number))


class _ItemParts:
    """The encoded item part of a row, by day; one entry per day at most."""

    def __init__(
        self, fixed: Attributes, item: TrailingVolumes, market: TrailingVolumes, *, num_items: int, names: set[str]
    ) -> None:
        self._fixed = encode(fixed)
        self._item = item
        self._market = market
        self._num_items = num_items
        self._names = names
        self._by_day: dict[int, bytes] = {}

    def as_of(self, day: int) -> bytes:
        """Attributes, sampling rates and performance as of the day before."""
        if day not in self._by_day:
            found = performance_features(self._item.before(day), self._market.before(day), num_items=self._num_items)
            changing = {name: value for name, value in found.items() if name in self._names}
            self._by_day[day] = self._fixed + encode(changing)
        return self._by_day[day]


def _rates(samples: Any, totals: tuple[int, int]) -> Attributes:
    """The item's share of the train positives and of the unengaged impressions."""
    positives, impressions = (sum(values) for values in zip((0, 0), *samples, strict=True))
    return {"positive_rate": positives / max(1, totals[0]), "impression_rate": impressions / max(1, totals[1])}
