"""JoinItems: positives, impressions and the catalogue with item attributes, performance and sampling rates."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from schemas import tables
from schemas.features import FeatureGroups
from tfx_pipeline.examples.clean import COUNTS
from tfx_pipeline.examples.clean import DEAD_LETTERS
from tfx_pipeline.examples.clean import dead_letter
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.encode import encode
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
    """`(item_id, {attributes, daily, samples, positives, impressions})` -> encoded rows by split.

    Main outputs are tagged `train`, `eval`, `impressions` and `catalog`; positives and impressions of an item that is
    not in the catalogue are dead letters. Positives are streamed: memory holds one item's attributes and daily volumes.

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
        """One pass over each item."""
        rows = beam.ParDo(self._do_fn, **self._sides)
        return grouped | "Join" >> rows.with_outputs(TRAIN, EVAL, IMPRESSIONS, CATALOG, DEAD_LETTERS, COUNTS)


class _JoinFn(beam.DoFn):
    def __init__(self, groups: FeatureGroups, window_days: int) -> None:
        self._names = {feature.name for feature in groups.item}
        self._window_days = window_days

    def process(
        self,
        element: tuple[str, dict[str, Any]],
        period: Period,
        totals: tuple[int, int],
        num_items: int,
        market: dict[int, Volume],
    ) -> Iterator[Any]:
        """Emits every row of one item."""
        item_id, group = element
        found = sorted(group["attributes"], key=repr)
        if not found:
            yield from self._not_in_catalogue(item_id, group)
            return
        if len(found) > 1:
            yield beam.pvalue.TaggedOutput(COUNTS, ("items.dropped.duplicate_item", len(found) - 1))
        for dropped in found[1:]:
            row = {"item_id": item_id, **dropped}
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letter(tables.ITEMS, "duplicate_item", "join", row))
        parts = _ItemParts(
            {"item_id": item_id, **found[0], **_rates(group["samples"], totals)},
            TrailingVolumes(group["daily"], window_days=self._window_days),
            TrailingVolumes(market.items(), window_days=self._window_days),
            num_items=num_items,
            names=self._names,
        )
        yield beam.pvalue.TaggedOutput(CATALOG, parts.as_of(period.cut_us // MICROSECONDS_PER_DAY))
        for row in group["positives"]:
            positive = PositiveRow(*row)
            yield beam.pvalue.TaggedOutput(positive.split, positive.query_part + parts.as_of(positive.day))
        for day in group["impressions"]:
            yield beam.pvalue.TaggedOutput(IMPRESSIONS, parts.as_of(day))

    def _not_in_catalogue(self, item_id: str, group: dict[str, Any]) -> Iterator[Any]:
        numbers = {name: sum(1 for _ in group[name]) for name in ("positives", "impressions")}
        dropped = sum(numbers.values())
        if dropped:
            row = {"item_id": item_id, **numbers}
            letter = dead_letter(tables.EVENTS, "item_not_in_catalogue", "join", row)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
            yield beam.pvalue.TaggedOutput(COUNTS, ("events.dropped.item_not_in_catalogue", dropped))


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
