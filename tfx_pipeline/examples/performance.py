"""ItemPerformance: trailing-window counts and smoothed rates of an item, as of the day before."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam

from schemas import tables
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.types import Attributes

_SMOOTHING = 1.0
_PRIOR_IMPRESSIONS = 20.0


class Volume(NamedTuple):
    """Numbers of events; between workers it travels as a plain tuple, which Beam encodes without pickling."""

    impressions: int = 0
    engagements: int = 0
    conversions: int = 0


_OF_EVENT = {
    tables.IMPRESSION: (1, 0, 0),
    **dict.fromkeys(tables.ENGAGEMENTS, (0, 1, 0)),
    **dict.fromkeys(tables.CONVERSIONS, (0, 0, 1)),
}


class DailyVolumes(beam.PTransform):
    """Lists of `(user_id, Event as a tuple)` -> `((item_id, day), volume)`; days count from 1970, UTC."""

    def expand(self, events: beam.PCollection) -> beam.PCollection:
        """Counts with combiner lifting."""
        return (
            events
            | "VolumesOfList" >> beam.FlatMap(_volumes_by_item_and_day)
            | "Sum" >> beam.CombinePerKey(beam.CombineFn.from_callable(sum_volumes))
        )


def _volumes_by_item_and_day(rows: list[tuple[str, tuple]]) -> Iterable[tuple[tuple[str, int], tuple[int, int, int]]]:
    found: dict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)
    for _, (item_id, event, timestamp_us, *_) in rows:
        found[item_id, timestamp_us // MICROSECONDS_PER_DAY].append(_OF_EVENT[event])
    return ((key, sum_volumes(volumes)) for key, volumes in found.items())


def sum_volumes(volumes: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Adds `(impressions, engagements, conversions)` tuples."""
    impressions = engagements = conversions = 0
    for volume in volumes:
        impressions += volume[0]
        engagements += volume[1]
        conversions += volume[2]
    return impressions, engagements, conversions


class TrailingVolumes:
    """Sums over the window of days that ends the day before.

    Args:
        daily: `(day, (impressions, engagements, conversions))` pairs, in any order.
        window_days: length of the window.
    """

    def __init__(self, daily: Iterable[tuple[int, tuple]], *, window_days: int) -> None:
        ordered = sorted(daily)
        self._days = [day for day, _ in ordered]
        self._window_days = window_days
        self._cumulative = [(0, 0, 0)]
        for _, volume in ordered:
            self._cumulative.append(sum_volumes((self._cumulative[-1], volume)))

    def before(self, day: int) -> Volume:
        """Volume on days `day - window_days` to `day - 1`."""
        start = self._cumulative[bisect_left(self._days, day - self._window_days)]
        end = self._cumulative[bisect_left(self._days, day)]
        return Volume(*(later - earlier for later, earlier in zip(end, start, strict=True)))


def performance_features(item: Volume, market: Volume, *, num_items: int) -> Attributes:
    """An item's volume relative to the market's mean on the same days, so that a value does not tell the date.

    In the data's first window fewer days are covered, and an index is nearer to 0. Scaling to the days that are covered
    would make it noisier instead, which tells the date as well: of sparse items a little less, of others more.

    Args:
        item: trailing volume of the item.
        market: trailing volume of all items.
        num_items: in the catalogue.
    """
    found: Attributes = {
        "item_conversion_index": _log_index(item.conversions, market.conversions, num_items),
        "item_engagement_index": _log_index(item.engagements, market.engagements, num_items),
    }
    if market.impressions:
        prior = market.engagements / market.impressions
        found["item_click_rate"] = (item.engagements + _PRIOR_IMPRESSIONS * prior) / (
            item.impressions + _PRIOR_IMPRESSIONS
        )
    return found


def _log_index(number: int, total: int, num_items: int) -> float:
    return math.log((number + _SMOOTHING) / (total / max(1, num_items) + _SMOOTHING))
