"""UnengagedImpressions: what was shown and not acted on, the hard negatives."""

import hashlib
from bisect import bisect_left
from collections import defaultdict

import apache_beam as beam

from schemas import tables
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.types import Event
from tfx_pipeline.examples.types import Period
from tfx_pipeline.examples.types import UserLog


class UnengagedImpressions(beam.PTransform):
    """UserLog -> UserLog with the training period's impressions that no engagement or conversion followed.

    Only events before the cut are looked at, also for what followed: the evaluation period stays unknown.
    """

    def __init__(self, config: ExamplesConfig, period: beam.pvalue.AsSingleton) -> None:
        super().__init__()
        self._config = config
        self._period = period

    def expand(self, logs: beam.PCollection) -> beam.PCollection:
        """One pass over each user's events."""
        return logs | "Unengaged" >> beam.Map(find_unengaged, self._config, self._period)


def find_unengaged(log: UserLog, config: ExamplesConfig, period: Period) -> UserLog:
    """Fills `log.unengaged`."""
    window_us = int(config.engagement_window_hours * MICROSECONDS_PER_DAY / 24)
    acted: dict[str, list[int]] = defaultdict(list)
    start_us = period.cut_us - config.train_days * MICROSECONDS_PER_DAY if config.train_days else 0
    known = [event for event in log.events if start_us <= event.timestamp_us < period.cut_us]
    for event in known:
        if event.event != tables.IMPRESSION:
            acted[event.item_id].append(event.timestamp_us)
    for event in known:
        if event.event != tables.IMPRESSION or not _is_sampled(log.user_id, event, config.impression_share):
            continue
        moments = acted.get(event.item_id, [])
        following = bisect_left(moments, event.timestamp_us)
        if following == len(moments) or moments[following] > event.timestamp_us + window_us:
            log.unengaged.append(event)
    return log


def _is_sampled(user_id: str, event: Event, share: float) -> bool:
    if share >= 1:
        return True
    key = f"{user_id}\0{event.item_id}\0{event.timestamp_us}\0{event.request_id}"
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()  # a CRC is linear: users would be kept in step
    return int.from_bytes(digest, "little") < share * 2**32
