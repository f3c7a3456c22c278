"""Advertisers whose conversions jumped or stopped, against their own days before and against all others."""

import heapq
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.finding import Finding
from tfx_pipeline.health.labels import Labels
from tfx_pipeline.health.volumes import Exposure
from tfx_pipeline.health.volumes import Volume
from tfx_pipeline.health.volumes import Windows
from tfx_pipeline.health.volumes import fewest_recent
from tfx_pipeline.health.volumes import jump_probability
from tfx_pipeline.health.volumes import most_recent
from tfx_pipeline.health.volumes import stop_probability

JUMP, STOP = "advertiser_jump", "advertiser_stop"
MOST_NAMED = 20
"""Advertisers that are named one by one, the least probable first."""

_PROBABILITY = {JUMP: jump_probability, STOP: stop_probability}


class _Suspect(NamedTuple):
    """An advertiser whose change is improbable; ordered so that a heap drops the most probable."""

    minus_probability: float
    name: str
    volume: Volume


def changed_advertisers(labels: Labels, config: HealthConfig) -> list[Finding]:
    """Findings of both checks; memory holds 20 advertisers of each.

    An advertiser must have changed both against the days and against what all others did, so that a season that all
    share names nobody, and neither does one big advertiser's jump, beside which all others seem to stop. One without
    conversions before is new and cannot jump.
    """
    if not labels.windows:
        return []
    market = Volume.of(labels.days, labels.windows)
    suspects: dict[str, list[_Suspect]] = {JUMP: [], STOP: []}
    num_tested = 0
    for name, days in labels.advertisers():
        volume = Volume.of(days, labels.windows)
        if volume.recent + volume.before < config.min_conversions or not volume.before:
            continue
        num_tested += 1
        for check, heap in suspects.items():
            chance = _probability(check, volume, market, labels.windows, max_change=config.max_change)(volume)
            if chance < config.false_alarm:
                _push(heap, _Suspect(-chance, name, volume))
    alarm = config.false_alarm / max(1, num_tested)
    return [
        _finding(check, suspect, market, labels.windows, config, alarm=alarm)
        for check, heap in suspects.items()
        for suspect in sorted(heap, reverse=True)
        if -suspect.minus_probability < alarm
    ]


def volume_change(labels: Labels, config: HealthConfig) -> Iterator[Finding]:
    """A finding where all conversions together jumped or stopped, against the days."""
    if not labels.windows:
        return
    market, exposure = Volume.of(labels.days, labels.windows), _days(labels.windows)
    if market.recent + market.before < config.min_conversions:
        return
    for is_jump, probability in ((True, jump_probability), (False, stop_probability)):
        chance = partial(probability, exposure=exposure, max_change=config.max_change)
        if chance(market) < config.false_alarm:
            find = most_recent if is_jump else fewest_recent
            bound = find(market, chance, alarm=config.false_alarm)
            message = f"all conversions {_told(market, labels.windows, bound, is_jump=is_jump)}"
            yield Finding("volume", "all conversions", market.recent, bound, message)


def _probability(
    check: str, volume: Volume, market: Volume, windows: Windows, *, max_change: float
) -> Callable[[Volume], float]:
    """The larger of the probabilities against the days and against the others' conversions."""
    others = Exposure(market.recent - volume.recent, market.before - volume.before)
    exposures = [_days(windows)] + ([others] if min(others) > 0 else [])
    test = _PROBABILITY[check]
    return lambda changed: max(test(changed, exposure, max_change=max_change) for exposure in exposures)


def _push(heap: list[_Suspect], suspect: _Suspect) -> None:
    heapq.heappush(heap, suspect)
    if len(heap) > MOST_NAMED:
        heapq.heappop(heap)


def _finding(
    check: str, suspect: _Suspect, market: Volume, windows: Windows, config: HealthConfig, *, alarm: float
) -> Finding:
    probability = _probability(check, suspect.volume, market, windows, max_change=config.max_change)
    find = most_recent if check == JUMP else fewest_recent
    bound = find(suspect.volume, probability, alarm=alarm)
    told = _told(suspect.volume, windows, bound, is_jump=check == JUMP)
    return Finding(check, suspect.name, suspect.volume.recent, bound, f"advertiser {suspect.name!r} {told}")


def _told(volume: Volume, windows: Windows, bound: int, *, is_jump: bool) -> str:
    num_recent, num_before = windows.end - windows.start, windows.start - windows.first
    limit = "at most" if is_jump else "at least"
    look = "counted twice, or a campaign?" if is_jump else "is its feed, or its tag, still alive?"
    return (
        f"has {volume.recent:,} conversions in the last {num_recent} days and {volume.before:,} in the {num_before} before, "
        f"which lets {limit} {bound:,} be expected (health.max_change): {look}"
    )


def _days(windows: Windows) -> Exposure:
    return Exposure(windows.end - windows.start, windows.start - windows.first)
