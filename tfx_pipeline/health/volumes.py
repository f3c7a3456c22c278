"""Volumes: whether conversions of the recent days are still those of the days before, within what chance and baskets explain.

A change counts when it is both large, beyond a factor, and no chance. Given both windows' conversions together, those of
the recent one are binomial where conversions come one by one at an unchanged rate (the conditional test of two Poisson
means: Przyborowski and Wilenski, Biometrika 1940). They come in baskets, so counts are divided by their dispersion, the
variance of the days' counts over their mean (quasi-Poisson).
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.special import betainc


class Windows(NamedTuple):
    """The recent days `[start, end)`, and those before `[first, start)`; days since 1970, UTC."""

    first: int
    start: int
    end: int

    @classmethod
    def of(cls, first_day: int, last_day: int, *, recent_days: int, before_days: int) -> "Windows | None":
        """Windows at the end of the data; None where the days before would be fewer than the recent ones."""
        start = last_day + 1 - recent_days
        first = max(first_day, start - before_days)
        return cls(first, start, last_day + 1) if start - first >= recent_days else None


class Volume(NamedTuple):
    """Conversions of both windows.

    Attributes:
        recent: in the recent one.
        before: in the one before.
        dispersion: of the days before, >= 1.
    """

    recent: int
    before: int
    dispersion: float = 1.0

    @classmethod
    def of(cls, days: Iterable[Iterable[int]], windows: Windows) -> "Volume":
        """Sums `(day, conversions, ...)`; days that are not named have none."""
        counts = np.zeros(windows.start - windows.first)
        recent = 0
        for day, number, *_ in days:
            if windows.first <= day < windows.start:
                counts[day - windows.first] += number
            elif windows.start <= day < windows.end:
                recent += number
        mean = counts.mean()
        dispersion = counts.var(ddof=1) / mean if mean and len(counts) > 1 else 1.0
        return cls(recent, int(counts.sum()), max(1.0, float(dispersion)))


class Exposure(NamedTuple):
    """What a volume is proportional to if nothing has changed: days, or the conversions of all others."""

    recent: float
    before: float

    def expected(self, before: int) -> float:
        """Recent conversions, where there were so many before."""
        return before * self.recent / self.before

    @property
    def recent_share(self) -> float:
        """Of both windows' conversions, those to be expected in the recent one."""
        return self.recent / (self.recent + self.before)


def jump_probability(volume: Volume, exposure: Exposure, *, max_change: float) -> float:
    """Probability of so many recent conversions or more by chance; 1 up to `max_change` times the expected ones."""
    if volume.recent <= max_change * exposure.expected(volume.before):
        return 1.0
    recent, before = volume.recent / volume.dispersion, volume.before / volume.dispersion
    return float(betainc(recent, before + 1, exposure.recent_share))


def stop_probability(volume: Volume, exposure: Exposure, *, max_change: float) -> float:
    """Probability of so few recent conversions or fewer by chance; 1 from the `max_change`-th part of the expected ones."""
    if volume.recent >= exposure.expected(volume.before) / max_change:
        return 1.0
    recent, before = volume.recent / volume.dispersion, volume.before / volume.dispersion
    return float(betainc(before, recent + 1, 1 - exposure.recent_share))


def most_recent(volume: Volume, probability: Callable[[Volume], float], *, alarm: float) -> int:
    """The most recent conversions that are no jump, with the same before."""
    low, high = 0, volume.recent
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if probability(volume._replace(recent=middle)) >= alarm else (low, middle - 1)
    return low


def fewest_recent(volume: Volume, probability: Callable[[Volume], float], *, alarm: float) -> int:
    """The fewest recent conversions that are no stop, with the same before."""
    low, high = volume.recent, max(volume.recent, volume.before)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if probability(volume._replace(recent=middle)) >= alarm else (middle + 1, high)
    return low
