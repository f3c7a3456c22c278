import math

import pytest

from tfx_pipeline.health.days import silent_days

MONDAY = 20_003 - 20_003 % 7  # any day: a week later is the same weekday
US_PER_DAY = 86_400_000_000


def weeks(number, *, without=(), users=(20, 20, 20, 20, 20, 0, 5)):
    """Users of each weekday, over so many weeks; silent days are left out."""
    days = [(MONDAY + index, users[index % 7]) for index in range(7 * number)]
    return [[day, 3 * n, n] for day, n in days if n and day - MONDAY not in without]


def find(days, *, num_weeks, covered=1.0, false_alarm=0.001):
    last_us = int((MONDAY + 7 * num_weeks - 1 + covered) * US_PER_DAY) - 1
    silent, unexpected = silent_days(days, last_us=last_us, false_alarm=false_alarm)
    return silent, [day - MONDAY for day in unexpected]


def test_a_weekday_on_which_it_is_always_closed_is_no_surprise():
    assert find(weeks(8), num_weeks=8) == (8, [])


def test_a_missing_day_is_named_unless_its_weekday_is_quiet():
    # The bound on buyers is -log(0.001 / 56) = 10.9: 20 are above it, the five of a Sunday are not.
    assert find(weeks(8, without=(9, 13, 23)), num_weeks=8) == (11, [9, 23])


def test_silence_until_the_end_of_the_data_is_found():
    # Two of eight weeks.
    assert find(weeks(6), num_weeks=8) == (6 + 14, [42, 43, 44, 45, 46, 49, 50, 51, 52, 53])


@pytest.mark.parametrize(("covered", "unexpected"), [(0.3, []), (0.9, [13])])
def test_the_last_day_counts_as_far_as_the_data_cover_it(covered, unexpected):
    # 20 buyers on each day, the bound is -log(0.001 / 14) = 9.5: 30% of the day let 6 be expected, 90% let 18.
    days = weeks(2, without=(13,), users=(20,) * 7)
    days += [[day - 21, conversions, users] for day, conversions, users in weeks(3, users=(20,) * 7)]
    last_us = int((MONDAY + 13 + covered) * US_PER_DAY)
    assert -math.log(0.001 / 35) < 18
    assert silent_days(sorted(days), last_us=last_us, false_alarm=0.001) == (1, [MONDAY + day for day in unexpected])


def test_no_conversions_at_all_have_no_silent_days():
    assert silent_days([], last_us=0, false_alarm=0.1) == (0, [])
