import math

import numpy as np
import pytest
import tensorflow as tf
from plain_softmax import plain_softmax

from trainer.losses import Logits
from trainer.losses import corrected_loss
from trainer.losses import group_loss
from trainer.losses import sampled_logits
from trainer.losses import softmax_loss
from trainer.losses import weighted_mean


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


def logits_of(given):
    tensors = {
        name: value
        if value is None or name == "temperature"
        else tf.constant(value, tf.int64 if name.endswith("_ids") else tf.float32)
        for name, value in given.items()
        if name != "weights"
    }
    return sampled_logits(**tensors)


def loss(given):
    return float(weighted_mean(softmax_loss(logits_of(given)), tf.constant(given["weights"], tf.float32)))


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


def test_a_corrected_positive_is_no_draw():
    # By arithmetic: odds 2 of the negatives against the positive, P = 1 / 3, so (1 - P) * log 2.
    logits = Logits(tf.constant([0.0]), tf.math.log([[0.5, 1.5]]))
    assert float(corrected_loss(logits)[0]) == pytest.approx(2 / 3 * math.log(2), rel=1e-5)


def test_without_negatives_the_corrected_loss_is_none():
    given = random_batch(1, 2)
    logits = logits_of({**given, "negative_ids": [0, 0]})
    with tf.GradientTape() as tape:
        tape.watch(logits.own)
        found = corrected_loss(logits)
    assert float(found[0]) == 0.0
    assert np.isfinite(tape.gradient(found, logits.own).numpy()).all()


@pytest.mark.parametrize("kind", ["standard", "corrected"])
def test_the_gradient_approaches_that_of_the_full_softmax(kind):
    """In-batch, impressions and even draws of 40 items, corrected by their expected counts, against all 40 in numpy."""
    random = np.random.default_rng(5)
    num_items, tastes = 40, random.normal(size=40)
    shares, shown = random.dirichlet(np.ones(num_items), 2)
    positive = 7
    full = np.exp(tastes) / np.exp(tastes).sum() - np.eye(num_items)[positive]  # d loss / d logits
    errors = []
    for size in (40, 4_000):
        mean = np.zeros(num_items)
        for _ in range(20):
            draws = [(size, shares), (size, shown), (size, np.full(num_items, 1 / num_items))]
            items = np.concatenate([random.choice(num_items, n, p=p) for n, p in draws])
            counts = size * shares + size * shown + size / num_items
            values = tf.Variable(tastes, dtype=tf.float32)
            with tf.GradientTape() as tape:
                logits = sampled_logits(
                    tf.ones([1, 1]),
                    tf.gather(values, [positive])[:, tf.newaxis],
                    tf.gather(values, items)[:, tf.newaxis],
                    positive_ids=tf.constant([positive], tf.int64),
                    negative_ids=tf.constant(items, tf.int64),
                    positive_counts=tf.constant([1.0]) if kind == "standard" else None,
                    negative_counts=tf.constant(counts[items], tf.float32),
                    positive_bonuses=tf.zeros([1]),
                    negative_bonuses=tf.zeros([1, len(items)]),
                    temperature=1.0,
                )
                found = (softmax_loss if kind == "standard" else corrected_loss)(logits)
            mean += np.asarray(tf.convert_to_tensor(tape.gradient(found, values))) / 20
        errors.append(np.abs(mean - full).max())
    assert errors[1] < 0.1 * np.abs(full).max()
    assert errors[1] < errors[0]


def test_group_loss_is_the_probability_of_the_group():
    # Weights of the positive and of three negatives 1, 2, 3, 4, of which the second is of its group: (1 + 3) / 10.
    logits = Logits(tf.constant([0.0]), tf.math.log([[2.0, 3.0, 4.0]]))
    found = group_loss(logits, tf.constant([[False, True, False]]))
    assert float(found[0]) == pytest.approx(-math.log(0.4), rel=1e-5)
