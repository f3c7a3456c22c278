"""Sessions: a user's events in time order, without duplicates, with click durations where they were missing."""

import heapq
from collections.abc import Iterable

import apache_beam as beam

from schemas import tables
from tfx_pipeline.examples.config import MICROSECONDS
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.types import Event
from tfx_pipeline.examples.types import UserLog


class Sessions(beam.PTransform):
    """`(user_id, {events, attributes})` from a CoGroupByKey -> UserLog.

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


def build_log(user_id: str, events: Iterable[tuple], attributes: Iterable[dict], *, config: ExamplesConfig) -> UserLog:
    """The user's latest events, ascending by time, each once."""
    counter = _Counter()
    rows = heapq.nlargest(config.max_events_per_user, map(Event._make, counter.over(events)), key=_total_order)
    distinct = sorted(set(rows), key=_total_order)
    found = sorted(attributes, key=repr)
    log = UserLog(user_id, found[0] if found else {}, derive_durations(distinct, config=config))
    log.count("events.dropped.over_max_events_per_user", counter.number - len(rows))
    log.count("events.dropped.duplicate", len(rows) - len(distinct))
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


class _Counter:
    """Counts what passes through an iterable."""

    def __init__(self) -> None:
        self.number = 0

    def over(self, rows: Iterable[tuple]) -> Iterable[tuple]:
        for row in rows:
            self.number += 1
            yield row


def _total_order(event: Event) -> tuple:
    """Time first; then everything, so that the order does not depend on the runner."""
    return (event.timestamp_us, event.item_id, event.event, repr(event))
