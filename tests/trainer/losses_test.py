import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import duration_weight
from trainer.losses import sampled_softmax_loss


def oracle(queries, items, *, item_ids, counts, weights, temperature):
    """Row by row, in plain Python."""
    total = 0.0
    for row, query in enumerate(queries):
        logits = {}
        for column, item in enumerate(items):
            if column != row and item_ids[column] == item_ids[row]:
                continue  # an accidental hit
            correction = 0.0 if counts is None else math.log(counts[column])
            logits[column] = float(np.dot(query, item)) / temperature - correction
        total += weights[row] * (math.log(sum(math.exp(value) for value in logits.values())) - logits[row])
    return total / sum(weights)


def random_batch(num_rows=6, *, seed=0):
    random = np.random.default_rng(seed)
    queries, items = (random.normal(size=(num_rows, 4)) for _ in range(2))
    queries, items = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, items))
    counts, weights = random.uniform(0.1, 2.0, num_rows), random.uniform(0.1, 1.0, num_rows)
    return queries, items, counts, weights


def loss(queries, items, *, item_ids, counts, weights, temperature):
    found = sampled_softmax_loss(
        tf.constant(queries, tf.float32),
        tf.constant(items, tf.float32),
        item_ids=tf.constant(item_ids, tf.int64),
        expected_counts=None if counts is None else tf.constant(counts, tf.float32),
        weights=tf.constant(weights, tf.float32),
        temperature=temperature,
    )
    return float(found)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("item_ids", [[1, 2, 3, 4, 5, 6], [1, 2, 1, 3, 2, 1], [7] * 6])
@pytest.mark.parametrize("use_logq", [True, False])
def test_loss_equals_the_plain_softmax(temperature, item_ids, use_logq):
    queries, items, counts, weights = random_batch()
    given = {
        "item_ids": item_ids,
        "counts": counts if use_logq else None,
        "weights": weights,
        "temperature": temperature,
    }
    assert loss(queries, items, **given) == pytest.approx(oracle(queries, items, **given), rel=1e-4, abs=1e-5)


def test_a_popular_negative_counts_less():
    # One query, its item and one negative, all inner products 0: without correction log(1 + 1). An item expected
    # three times as often as the positive has a third of its weight: log(1 + 1/3).
    zeros = np.zeros((2, 2))
    given = {"item_ids": [1, 2], "weights": [1.0, 0.0], "temperature": 1.0}
    assert loss(zeros, zeros, counts=None, **given) == pytest.approx(math.log(2))
    assert loss(zeros, zeros, counts=[1.0, 3.0], **given) == pytest.approx(math.log(1 + 1 / 3))


def test_loss_is_zero_without_weight():
    queries, items, counts, _ = random_batch()
    assert loss(queries, items, item_ids=range(6), counts=counts, weights=[0.0] * 6, temperature=0.1) == 0.0


def test_only_the_ratio_of_weights_matters():
    queries, items, counts, weights = random_batch()
    given = {"item_ids": range(6), "counts": counts, "temperature": 0.1}
    assert loss(queries, items, weights=weights, **given) == pytest.approx(
        loss(queries, items, weights=weights * 17, **given), rel=1e-5
    )


def test_loss_is_a_weighted_mean_of_the_rows():
    queries, items, counts, weights = random_batch()
    given = {"item_ids": range(6), "counts": counts, "temperature": 0.1}
    rows = [loss(queries, items, weights=np.eye(6)[row], **given) for row in range(6)]
    assert loss(queries, items, weights=weights, **given) == pytest.approx(np.average(rows, weights=weights), rel=1e-5)


def test_the_scale_of_expected_counts_cancels():
    # log Q_j + c for every j moves numerator and denominator alike: the batch size enters no loss.
    queries, items, counts, weights = random_batch()
    given = {"item_ids": range(6), "weights": weights, "temperature": 0.1}
    assert loss(queries, items, counts=counts, **given) == pytest.approx(
        loss(queries, items, counts=counts * 1024, **given), rel=1e-4
    )


def test_a_batch_of_one_item_teaches_nothing():
    queries, items, counts, weights = random_batch()
    found = loss(queries, items, item_ids=[7] * 6, counts=counts, weights=weights, temperature=0.1)
    assert found == pytest.approx(0.0, abs=1e-6)


def test_duration_weight():
    durations = tf.constant([0.0, 60.0, 120.0, 1e6, -1.0])
    half = math.log(1.5) / math.log(2)  # log1p(60 / 120) / log 2
    np.testing.assert_allclose(duration_weight(durations, t_max_s=120.0), [0.0, half, 1.0, 1.0, half], atol=1e-6)


def test_duration_weight_grows_with_the_duration():
    weights = duration_weight(tf.linspace(0.0, 120.0, 50), t_max_s=120.0).numpy()
    assert (np.diff(weights) > 0).all()
