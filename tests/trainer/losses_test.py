import math

import numpy as np
import pytest
import tensorflow as tf
from plain_softmax import plain_softmax

from trainer.losses import duration_weight
from trainer.losses import sampled_softmax_loss


def random_batch(num_rows=6, num_columns=9, *, seed=0):
    """Arguments of a loss whose negatives are not its positives, no id twice."""
    random = np.random.default_rng(seed)
    queries, positives, negatives = (random.normal(size=(num, 4)) for num in (num_rows, num_rows, num_columns))
    return {
        "queries": queries,
        "positives": positives,
        "negatives": negatives,
        "positive_ids": np.arange(num_rows),
        "negative_ids": np.arange(100, 100 + num_columns),
        "positive_counts": random.uniform(0.1, 2.0, num_rows),
        "negative_counts": random.uniform(0.1, 2.0, num_columns),
        "positive_bonuses": random.normal(size=num_rows),
        "negative_bonuses": random.normal(size=(num_rows, num_columns)),
        "weights": random.uniform(0.1, 1.0, num_rows),
        "temperature": 0.5,
    }


def loss(given):
    tensors = {
        name: value
        if value is None or name == "temperature"
        else tf.constant(value, tf.int64 if name.endswith("_ids") else tf.float32)
        for name, value in given.items()
    }
    return float(sampled_softmax_loss(**tensors))


WITHOUT_BONUSES = {"positive_bonuses": np.zeros(6), "negative_bonuses": np.zeros((6, 9))}
WITHOUT_LOGQ = {"positive_counts": None, "negative_counts": None}


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize(
    "negative_ids", [range(100, 109), [0, 100, 1, 101, 1, 5, 102, 103, 0], [3] * 9], ids=["none", "some", "a_whole_row"]
)
@pytest.mark.parametrize("without", [{}, WITHOUT_BONUSES, WITHOUT_LOGQ], ids=["all", "no_bonuses", "no_logq"])
def test_loss_equals_the_plain_softmax(temperature, negative_ids, without):
    given = {**random_batch(), "temperature": temperature, "negative_ids": list(negative_ids), **without}
    assert loss(given) == pytest.approx(plain_softmax(**given), rel=1e-4)


def test_with_the_batch_as_negatives_it_is_the_in_batch_softmax():
    # Column j is row j's positive: a row's own column is its one accidental hit, and the positive stands in for it.
    given = random_batch(num_columns=6)
    for name in ("ids", "counts"):
        given[f"negative_{name}"] = given[f"positive_{name}"]
    given["negatives"] = given["positives"]
    given["positive_bonuses"] = np.diag(given["negative_bonuses"])
    logits = (given["queries"] @ given["positives"].T + given["negative_bonuses"]) / 0.5
    logits -= np.log(given["positive_counts"])
    losses = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    assert loss(given) == pytest.approx(np.average(losses, weights=given["weights"]), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "odds"),
    [
        ({}, 1.0),
        ({"negative_counts": [3.0]}, 1 / 3),  # expected three times as often as the positive: a third of its weight
        ({"positive_counts": [3.0]}, 3.0),
        ({"negative_bonuses": [[0.2]]}, math.exp(0.2 / 0.5)),  # bonuses are divided by the temperature too
        ({"positive_bonuses": [0.2]}, math.exp(-0.2 / 0.5)),
        ({"negative_ids": [0]}, 0.0),  # the positive itself is no negative
    ],
)
def test_what_one_negative_weighs(changes, odds):
    # All inner products are 0: the loss is log(1 + odds of the negative).
    one = {**random_batch(1, 1), "queries": np.zeros((1, 4)), "positive_counts": [1.0], "negative_counts": [1.0]}
    given = {**one, "positive_bonuses": [0.0], "negative_bonuses": [[0.0]], **changes}
    assert loss(given) == pytest.approx(math.log(1 + odds), abs=1e-6)


@pytest.mark.parametrize(
    ("names", "factor"),
    [
        (["weights"], 17),
        (["positive_counts", "negative_counts"], 1024),  # the batch size enters no loss
    ],
)
def test_a_common_scale_cancels(names, factor):
    given = random_batch()
    scaled = {**given, **{name: given[name] * factor for name in names}}
    assert loss(scaled) == pytest.approx(loss(given), rel=1e-4)


def test_loss_is_a_weighted_mean_of_the_rows():
    given = random_batch()
    rows = [loss({**given, "weights": row}) for row in np.eye(6)]
    assert loss(given) == pytest.approx(np.average(rows, weights=given["weights"]), rel=1e-5)


def test_loss_is_zero_without_weight():
    assert loss({**random_batch(), "weights": np.zeros(6)}) == 0.0


def test_duration_weight():
    durations = tf.constant([0.0, 60.0, 120.0, 1e6, -1.0])
    half = math.log(1.5) / math.log(2)  # log1p(60 / 120) / log 2
    np.testing.assert_allclose(duration_weight(durations, t_max_s=120.0), [0.0, half, 1.0, 1.0, half], atol=1e-6)


def test_duration_weight_grows_with_the_duration():
    weights = duration_weight(tf.linspace(0.0, 120.0, 50), t_max_s=120.0).numpy()
    assert (np.diff(weights) > 0).all()
