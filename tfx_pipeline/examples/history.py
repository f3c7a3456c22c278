"""UserHistory: what a user had done strictly before a moment, as features of the query."""

from bisect import bisect_left
from itertools import accumulate

from schemas import tables
from schemas.contract import HISTORY_AGE_DAYS
from schemas.contract import HISTORY_EVENT
from schemas.contract import HISTORY_ITEM_ID
from schemas.features import FeatureGroups
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.types import Attributes
from tfx_pipeline.examples.types import Event
from tfx_pipeline.examples.types import UserLog

_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday
_COUNTED = {
    tables.CLICK: "user_num_clicks",
    tables.SAVE: "user_num_saves",
    tables.ADD_TO_CART: "user_num_add_to_carts",
    tables.PURCHASE: "user_num_purchases",
}


class UserHistory:
    """Point-in-time view of one user's actions (clicks, saves, conversions; impressions are none).

    Nothing at or after the asked moment is looked at, so lines of one basket never see each other.

    Args:
        log: the user's events, ascending by time.
        groups: features that the schema wants; others are not computed.
        length: latest actions in the history lists.
    """

    def __init__(self, log: UserLog, groups: FeatureGroups, *, length: int) -> None:
        self._log = log
        self._groups = groups
        self._length = length
        self._actions = [event for event in log.events if event.event != tables.IMPRESSION]
        self._moments = [event.timestamp_us for event in self._actions]
        self._conversions = [event for event in self._actions if event.is_conversion]
        self._conversion_moments = [event.timestamp_us for event in self._conversions]
        self._first_conversion_us: dict[str, int] = {}
        for event in self._conversions:
            self._first_conversion_us.setdefault(event.item_id, event.timestamp_us)
        self._cumulative = _cumulative_counts(self._actions)

    def features(self, moment_us: int, *, length: int = 0) -> Attributes:
        """User attributes, aggregated actions and history lists, from events strictly before the moment.

        `length`, where positive, is another one for these lists.
        """
        end = bisect_left(self._moments, moment_us)
        lists = self._lists(end, moment_us, length=length or self._length)
        return {**self._log.attributes, **self._aggregates(end, moment_us), **lists}

    def is_repeat(self, item_id: str, moment_us: int) -> bool:
        """Whether the user had converted on the item strictly before the moment."""
        return self._first_conversion_us.get(item_id, moment_us) < moment_us

    def converted_before(self, moment_us: int) -> set[str]:
        """Distinct items converted on strictly before the moment."""
        return {event.item_id for event in self._conversions[: bisect_left(self._conversion_moments, moment_us)]}

    def converted_since(self, moment_us: int) -> set[str]:
        """Distinct items converted on at or after the moment: labels, never features."""
        return {event.item_id for event in self._conversions[bisect_left(self._conversion_moments, moment_us) :]}

    def _aggregates(self, end: int, moment_us: int) -> Attributes:
        found: Attributes = {name: float(numbers[end]) for name, numbers in self._cumulative.items()}
        if end:
            found["user_days_since_last_event"] = (moment_us - self._moments[end - 1]) / MICROSECONDS_PER_DAY
        return {name: value for name, value in found.items() if name in self._groups}

    def _lists(self, end: int, moment_us: int, *, length: int) -> Attributes:
        latest = self._actions[max(0, end - length) : end][::-1]
        lists: Attributes = {
            HISTORY_ITEM_ID: [event.item_id for event in latest],
            HISTORY_EVENT: [event.event for event in latest],
            HISTORY_AGE_DAYS: [(moment_us - event.timestamp_us) / MICROSECONDS_PER_DAY for event in latest],
        }
        return {name: values for name, values in lists.items() if name in self._groups}


def _cumulative_counts(actions: list[Event]) -> dict[str, list[int]]:
    """By feature: its value after the first 0, 1, 2, ... actions."""
    seen: set[str] = set()
    distinct = [0]
    for event in actions:
        seen.add(event.item_id)
        distinct.append(len(seen))
    counts = {name: [0, *accumulate(int(e.event == kind) for e in actions)] for kind, name in _COUNTED.items()}
    return {**counts, "user_num_distinct_items": distinct}


def context_features(touch: Event, groups: FeatureGroups) -> Attributes:
    """Where and when the touch happened."""
    found: Attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in touch.context}
    if "surface" in groups:
        found.setdefault("surface", tables.SURFACE_UNKNOWN)
    found.update(time_features(touch.timestamp_us))
    return {name: value for name, value in found.items() if name in groups}


def time_features(moment_us: int) -> Attributes:
    """Hour (0 to 23) and ISO weekday (1 to 7) of a moment, UTC."""
    days, microseconds = divmod(moment_us, MICROSECONDS_PER_DAY)
    hour = microseconds * 24 // MICROSECONDS_PER_DAY
    return {"hour": str(hour), "weekday": str((days + _EPOCH_WEEKDAY - 1) % 7 + 1)}
