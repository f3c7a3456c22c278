"""AttributeConversions: joins each conversion to the user's last touch of its item."""

from bisect import bisect_left
from collections import defaultdict

import apache_beam as beam

from schemas import tables
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.types import Event
from tfx_pipeline.examples.types import Positive
from tfx_pipeline.examples.types import UserLog


class AttributeConversions(beam.PTransform):
    """UserLog -> UserLog with its positives: engagements as they are, conversions with their touch.

    The touch is the last click or save of the item within the click-through window, else the last impression within the
    view-through window. A conversion without a touch is kept or dropped by configuration, and counted either way.
    """

    def __init__(self, config: ExamplesConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, logs: beam.PCollection) -> beam.PCollection:
        """One pass over each user's events."""
        return logs | "Attribute" >> beam.Map(attribute, self._config)


def attribute(log: UserLog, config: ExamplesConfig) -> UserLog:
    """Fills `log.positives`."""
    touches = _touches_by_item(log.events)
    for event in log.events:
        if event.is_engagement:
            log.positives.append(Positive(event, event, "self"))
        elif event.is_conversion:
            touch, kind = _last_touch(event, touches, config)
            log.count(f"conversions.attributed.{kind}")
            if kind != "none" or config.keep_unattributed:
                log.positives.append(Positive(event, touch, kind))
            else:
                log.count("conversions.dropped.unattributed")
    return log


def _touches_by_item(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    """Touches in time order by item and kind (`click` or `view`)."""
    touches: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.is_engagement:
            touches[event.item_id, "click"].append(event)
        elif event.event == tables.IMPRESSION:
            touches[event.item_id, "view"].append(event)
    return touches


def _last_touch(
    conversion: Event, touches: dict[tuple[str, str], list[Event]], config: ExamplesConfig
) -> tuple[Event, str]:
    for kind, window_days in (("click", config.click_window_days), ("view", config.view_window_days)):
        earliest_us = conversion.timestamp_us - int(window_days * MICROSECONDS_PER_DAY)
        of_item = touches.get((conversion.item_id, kind), [])
        end = bisect_left(of_item, conversion.timestamp_us + 1, key=lambda event: event.timestamp_us)
        if window_days > 0 and end > 0 and of_item[end - 1].timestamp_us >= earliest_us:
            return of_item[end - 1], kind
    return conversion, "none"
