"""Sessions: a user's events in time order, without duplicates, with click durations where they were missing."""

import heapq
from collections.abc import Iterable
from itertools import chain
from itertools import groupby
from itertools import islice
from operator import itemgetter

import apache_beam as beam

from schemas import tables
from tfx_pipeline.examples.config import MICROSECONDS
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.types import Event
from tfx_pipeline.examples.types import UserLog

_FIRST_KEYS = [Event._fields.index(name) for name in ("timestamp_us", "item_id", "event")]


class Sessions(beam.PTransform):
    """`(user_id, {events, attributes})` from a CoGroupByKey, `events` lists of Events as tuples -> UserLog.

    Memory is bounded by `max_events_per_user`: older events are dropped and counted.
    """

    def __init__(self, config: ExamplesConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, grouped: beam.PCollection) -> beam.PCollection:
        """Order, drop duplicates, derive durations."""
        config = self._config
        return (
            grouped
            | "HasEvents" >> beam.Filter(lambda element: any(True for _ in element[1]["events"]))
            | "UserLog" >> beam.Map(lambda element: build_log(element[0], **element[1], config=config))
        )


def build_log(
    user_id: str, events: Iterable[list[tuple]], attributes: Iterable[dict], *, config: ExamplesConfig
) -> UserLog:
    """The user's latest events, ascending by time, each once."""
    latest, num_dropped = _latest(chain.from_iterable(events), config.max_events_per_user)
    distinct = _in_order(set(latest))
    found = sorted(attributes, key=repr)
    log = UserLog(user_id, found[0] if found else {}, derive_durations(distinct, config=config))
    log.count("events.dropped.over_max_events_per_user", num_dropped)
    log.count("events.dropped.duplicate", len(latest) - len(distinct))
    if len(found) > 1:
        log.count("users.dropped.duplicate_user", len(found) - 1)
    return log


def derive_durations(events: list[Event], *, config: ExamplesConfig) -> list[Event]:
    """Fills a missing click duration with the gap to the user's next event in the session, capped.

    The last event of a session has no next event: its duration stays unknown.
    """
    gap_us = int(config.session_gap_min * 60 * MICROSECONDS)
    filled = list(events)
    next_us: int | None = None
    later_us: int | None = None
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        if later_us is not None and event.timestamp_us < later_us:
            next_us = later_us
        if event.event == tables.CLICK and event.duration_s is None and next_us is not None:
            gap = next_us - event.timestamp_us
            if gap <= gap_us:
                seconds = min(gap / MICROSECONDS, config.max_click_duration_s)
                filled[index] = event._replace(duration_s=seconds)
        later_us = event.timestamp_us
    return filled


def _latest(rows: Iterable[tuple], most: int) -> tuple[list[Event], int]:
    """The latest rows, in any order, and how many more there were; holds few more than `most`."""
    events = map(Event._make, rows)
    held, num_dropped = list(islice(events, most)), 0
    while further := list(islice(events, most)):
        num_dropped += len(further)
        held = heapq.nlargest(most, [*held, *further], key=_total_order)
    return held, num_dropped


def _in_order(events: Iterable[Event]) -> list[Event]:
    """Sorted by the total order, whose last part is costly and rarely decides."""
    ordered = sorted(events, key=itemgetter(*_FIRST_KEYS))
    ties = groupby(ordered, key=itemgetter(*_FIRST_KEYS))
    return [event for _, tied in ties for event in _by_repr(list(tied))]


def _by_repr(tied: list[Event]) -> list[Event]:
    return tied if len(tied) == 1 else sorted(tied, key=repr)


def _total_order(event: Event) -> tuple:
    """Time first; then everything, so that the order does not depend on the runner."""
    return (*itemgetter(*_FIRST_KEYS)(event), repr(event))
