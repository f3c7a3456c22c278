from functools import partial

import numpy as np
import pytest
from scipy import stats

from tfx_pipeline.health.volumes import Exposure
from tfx_pipeline.health.volumes import Volume
from tfx_pipeline.health.volumes import Windows
from tfx_pipeline.health.volumes import fewest_recent
from tfx_pipeline.health.volumes import jump_probability
from tfx_pipeline.health.volumes import most_recent
from tfx_pipeline.health.volumes import stop_probability

DAYS = Exposure(7, 28)


@pytest.mark.parametrize(
    ("first_day", "expected"),
    [(0, (65, 93, 100)), (70, (70, 93, 100)), (86, (86, 93, 100)), (87, None)],  # at least as many days before
)
def test_the_windows_end_with_the_data(first_day, expected):
    assert Windows.of(first_day, 99, recent_days=7, before_days=28) == expected


def test_a_volume_sums_its_windows_and_knows_how_uneven_the_days_before_were():
    windows = Windows(10, 14, 16)
    assert Volume.of([(9, 99), (10, 2), (11, 2), (12, 2), (13, 2), (14, 5), (15, 6), (16, 99)], windows) == (11, 8, 1.0)
    # Days of 8, 0, 0, 0: mean 2, variance 48 / 3 = 16, dispersion 8.
    assert Volume.of([(10, 8, 1)], windows) == (0, 8, 8.0)
    assert Volume.of([], windows) == (0, 0, 1.0)


@pytest.mark.parametrize("before", [40, 100])
def test_the_probability_of_a_stop_to_nothing_is_a_power(before):
    # At an unchanged rate the recent 7 of 35 days have a fifth of all conversions.
    found = stop_probability(Volume(0, before), DAYS, max_change=3.0)
    assert found == pytest.approx(0.8**before)


def test_the_probability_of_a_jump_from_nothing_is_a_power():
    assert jump_probability(Volume(20, 0), DAYS, max_change=3.0) == pytest.approx(0.2**20)


@pytest.mark.parametrize(("recent", "before"), [(31, 40), (90, 28), (550, 700)])
def test_whole_counts_that_grew_have_a_binomial_tail(recent, before):
    expected = stats.binom.sf(recent - 1, recent + before, 0.2)
    assert jump_probability(Volume(recent, before), DAYS, max_change=3.0) == pytest.approx(expected)


@pytest.mark.parametrize(("recent", "before"), [(0, 30), (3, 200), (33, 400)])
def test_whole_counts_that_shrank_have_a_binomial_tail(recent, before):
    expected = stats.binom.cdf(recent, recent + before, 0.2)
    assert stop_probability(Volume(recent, before), DAYS, max_change=3.0) == pytest.approx(expected)


def test_a_change_up_to_the_factor_is_none_however_improbable():
    # 28,000 before let 7,000 be expected.
    assert jump_probability(Volume(21_000, 28_000), DAYS, max_change=3.0) == 1.0
    assert jump_probability(Volume(21_001, 28_000), DAYS, max_change=3.0) < 1e-100
    assert stop_probability(Volume(3_500, 28_000), DAYS, max_change=2.0) == 1.0
    assert stop_probability(Volume(3_499, 28_000), DAYS, max_change=2.0) < 1e-100


def test_baskets_of_ten_count_as_a_tenth():
    basket, single = Volume(200, 30, 10.0), Volume(20, 3)
    for probability in (jump_probability, stop_probability):
        found = probability(basket, DAYS, max_change=2.0)
        assert found == pytest.approx(probability(single, DAYS, max_change=2.0))


def test_nothing_is_neither_jump_nor_stop():
    for probability in (jump_probability, stop_probability):
        assert probability(Volume(0, 0), DAYS, max_change=3.0) == 1.0


@pytest.mark.parametrize("before", [0, 28, 280])
@pytest.mark.parametrize("alarm", [1e-3, 1e-6])
def test_the_bounds_are_the_last_values_that_raise_no_alarm(before, alarm):
    jump = partial(jump_probability, exposure=DAYS, max_change=3.0)
    stop = partial(stop_probability, exposure=DAYS, max_change=3.0)
    most = most_recent(Volume(10_000, before), jump, alarm=alarm)
    assert jump(Volume(most, before)) >= alarm > jump(Volume(most + 1, before))
    fewest = fewest_recent(Volume(0, before), stop, alarm=alarm)
    assert stop(Volume(fewest, before)) >= alarm
    assert fewest == 0 or stop(Volume(fewest - 1, before)) < alarm


def test_false_alarms_are_no_more_frequent_than_asked():
    random = np.random.default_rng(3)
    recent, before = random.poisson(7 * 4.0, 5_000), random.poisson(28 * 4.0, 5_000)
    for probability in (jump_probability, stop_probability):
        alarms = [probability(Volume(r, b), DAYS, max_change=1.01) < 0.01 for r, b in zip(recent, before, strict=True)]
        assert 0.002 < np.mean(alarms) < 0.014  # 0.01 and three standard errors; fewer, for counts are whole
