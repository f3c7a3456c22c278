"""Times of an open-loop load against what is known of the processes."""

import itertools

import numpy as np
import pytest

from serving.arrivals import send_times_s


def first(number, **options):
    return list(itertools.islice(send_times_s(**options), number))


def test_constant_arrivals_are_evenly_spaced():
    np.testing.assert_allclose(first(5, rate=4, process="constant", seed=0), [0, 0.25, 0.5, 0.75, 1.0])


def test_poisson_gaps_are_exponential():
    gaps = np.diff(first(20_001, rate=50, process="poisson", seed=3))
    # Mean and standard deviation of an exponential are both 1/rate; the mean of 20,000 is known to 0.7%.
    np.testing.assert_allclose([gaps.mean(), gaps.std()], [0.02, 0.02], rtol=0.03)
    np.testing.assert_allclose((gaps > 0.02).mean(), np.exp(-1), atol=0.015)


def test_seed_decides_the_times():
    same, again, other = (first(10, rate=5, process="poisson", seed=seed) for seed in (1, 1, 2))
    assert same == again
    assert same != other


def test_unknown_process_is_refused():
    with pytest.raises(ValueError, match=r"^process must be one of poisson, constant\. Received: 'bursts'$"):
        send_times_s(rate=1, process="bursts", seed=0)
