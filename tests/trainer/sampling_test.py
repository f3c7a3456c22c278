import numpy as np
import pytest
import tensorflow as tf

from trainer.sampling import NegativeSampler

RATES = np.array([0, 0.6, 0, 0.1, 0.3, 0, 0, 0, 0, 0, 0, 0])


def sampler(parts, small_config, rates, **options):
    random = tf.random.Generator.from_seed(4)
    return NegativeSampler(
        parts.catalog, small_config(**options), rate_floor=0.01, impression_rates=rates, random=random
    )


def test_impressions_are_drawn_by_their_share(parts, small_config):
    found = sampler(parts, small_config, RATES * 7, impression_negatives=20_000, uniform_negatives=0).draw()
    shares = np.bincount(found, minlength=12) / 20_000
    np.testing.assert_allclose(shares, RATES, atol=0.02)  # a standard error is below 0.0035
    assert (shares[RATES == 0] == 0).all()


@pytest.mark.parametrize(("rates", "number"), [(RATES, 17), (0 * RATES, 7)], ids=["impressions", "none"])
def test_a_log_without_impressions_has_no_such_negatives(parts, small_config, rates, number):
    built = sampler(parts, small_config, rates, impression_negatives=10, uniform_negatives=7)
    assert (built.num_draws, len(built.draw())) == (number, number)


def test_counts_are_what_draws_come_to(parts, small_config):
    built = sampler(parts, small_config, RATES, impression_negatives=4_000, uniform_negatives=11_000)
    items = tf.range(1, 12, dtype=tf.int64)
    without_batch = built.counts(items, parts.catalog.rates(items), num_rows=tf.constant(0), training=True)
    drawn = np.bincount(built.draw(), minlength=12)[1:]
    np.testing.assert_allclose(without_batch, drawn, atol=6 * np.sqrt(drawn.max()))
    asked = built.counts(items, parts.catalog.rates(items), num_rows=tf.constant(8), training=False)
    np.testing.assert_allclose(asked, 8 * np.maximum(parts.rates[1:], 0.01), rtol=1e-5)
