import numpy as np
import pytest

from tfx_pipeline.evaluation.bootstrap import Resampler
from tfx_pipeline.evaluation.outcomes import Metric


def mean_of(outcomes):
    return Metric(np.asarray(outcomes, float), np.ones(len(outcomes)))


def test_users_are_resampled_and_not_rows():
    """400 users of 10 rows that are all alike: the error is that of 400 witnesses, sqrt(p (1 - p) / 400), not of 4,000."""
    of_user = np.random.default_rng(2).random(400) < 0.3
    users, outcomes = np.repeat(np.arange(400), 10), np.repeat(of_user, 10)
    (found,) = Resampler(users, num_samples=2_000, seed=1).measure([mean_of(outcomes)], np.ones(4_000, bool))
    share = of_user.mean()
    error = np.sqrt(share * (1 - share) / 400)
    assert found.value == pytest.approx(share)
    assert found.standard_error() == pytest.approx(error, rel=0.07)
    interval = found.interval()
    assert interval["low"] == pytest.approx(share - 1.96 * error, abs=0.15 * error)
    assert interval["high"] == pytest.approx(share + 1.96 * error, abs=0.15 * error)


def test_a_ratio_is_weighted():
    users = np.array(["a", "a", "b"])
    metric = Metric(np.array([1.0, 0.0, 1.0]), np.array([1.0, 2.0, 5.0]))
    resampler = Resampler(users, num_samples=500, seed=1)
    (found,) = resampler.measure([metric], np.ones(3, bool))
    assert found.value == pytest.approx(6 / 8)
    assert set(np.round(found.samples, 6)) == {round(1 / 3, 6), 0.75, 1.0}  # twice a, one of each, twice b
    (found,) = resampler.measure([metric], np.array([True, True, False]))
    assert found.value == pytest.approx(1 / 3)
    assert resampler.num_users(np.array([True, True, False])) == 1


def test_a_change_is_of_the_same_users():
    random = np.random.default_rng(4)
    users, hits = np.arange(300), random.random(300) < 0.5
    better = hits.copy()
    better[np.flatnonzero(~hits)[:3]] = True
    found = Resampler(users, num_samples=1_000, seed=1).measure([mean_of(better), mean_of(hits)], np.ones(300, bool))
    change = found[0].minus(found[1])
    assert change.value == pytest.approx(0.01)
    assert change.standard_error() == pytest.approx(np.sqrt(0.01 * 0.99 / 300), rel=0.1)  # three users of 300
    assert found[0].standard_error() > 4 * change.standard_error()


def test_no_rows_and_no_weight_have_no_value():
    resampler = Resampler(np.array(["a", "b"]), num_samples=100, seed=1)
    (found,) = resampler.measure([mean_of([1, 1])], np.zeros(2, bool))
    assert np.isnan(list(found.interval().values())).all()
    (found,) = resampler.measure([Metric(np.ones(2), np.zeros(2))], np.ones(2, bool))
    assert np.isnan(found.value)
    assert np.isnan(found.standard_error())
