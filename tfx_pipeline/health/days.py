"""Days without conversions: which of them are no surprise, because that weekday never has many."""

import math

import numpy as np

_WEEK = 7


def silent_days(days: list[list[int]], *, last_us: int, false_alarm: float) -> tuple[int, list[int]]:
    """How many days had no conversions, and which of them unexpectedly.

    A day is expected to have as many buyers as the median of its weekday; the last one, in proportion to how much of it the data
    cover. None at all is unexpected where its Poisson probability is below `false_alarm` over the number of days.

    Args:
        days: `[day since 1970, conversions, users]`, ascending; days that are not named have none.
        last_us: the last event of any kind, microseconds.
        false_alarm: probability of naming one day or more by chance.
    """
    if not days:
        return 0, []
    last_day, covered_us = divmod(last_us, 86_400_000_000)
    first = days[0][0]
    buyers = np.zeros(max(last_day, days[-1][0]) - first + 1)
    for day, _, users in days:
        buyers[day - first] = users
    usual = np.array([np.median(buyers[index % _WEEK :: _WEEK]) for index in range(len(buyers))])
    if len(buyers) == last_day - first + 1:
        usual[-1] *= covered_us / 86_400_000_000
    silent = buyers == 0
    unexpected = silent & (usual > -math.log(false_alarm / len(buyers)))
    return int(silent.sum()), [first + int(index) for index in np.flatnonzero(unexpected)]
