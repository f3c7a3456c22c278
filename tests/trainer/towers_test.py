import numpy as np
import pytest
import tensorflow as tf

from trainer.towers import CrossAndDense
from trainer.towers import HistoryPooling


@pytest.mark.parametrize(
    ("architecture", "width"),
    [("parallel", 5 + 8), ("sequential", 8), ("cross", 5), ("dense", 8)],  # 5 inputs, a dense stack that ends in 8
)
def test_the_head_reads_what_the_architecture_says(small_config, architecture, width):
    body = CrossAndDense(small_config(architecture=architecture), random=tf.random.Generator.from_seed(1), name="body")
    body(tf.ones([2, 5]), tf.zeros([2, 8]))
    assert body.get_weights()[-1].shape == (width, 8)  # the head comes last and has no bias


def test_parallel_concatenates_cross_and_dense(small_config):
    # With one Cross layer x1 = x0 * (W x0 + b) + x0, and one dense layer relu(x0 K + c), by numpy.
    config = small_config(architecture="parallel", num_cross_layers=1, dense_units=(3,))
    body = CrossAndDense(config, random=tf.random.Generator.from_seed(1), name="body")
    x0 = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    own = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    found = body(tf.constant(x0), tf.constant(own)).numpy()[:, 0]
    by_shape = {tuple(v.shape): v.numpy() for v in body.trainable_variables}
    crossed = x0 * (x0 @ by_shape[5, 5] + by_shape[5,]) + x0
    dense = np.maximum(x0 @ by_shape[5, 3] + by_shape[3,], 0)
    combined = np.concatenate([crossed, dense], axis=1) @ by_shape[8, 8] + own
    np.testing.assert_allclose(found, combined, rtol=1e-4, atol=1e-5)


HISTORY = [(3, 1, 1.0), (4, 2, 30.0), (3, 3, 400.0), (0, 1, 2.0)]


@pytest.fixture(scope="module")
def pooling(parts, histories):
    """With random weights of events and ages, of ids alone."""
    found = HistoryPooling(parts.groups, parts.tables, (), parts.catalog)
    found(histories(HISTORY))
    random = np.random.default_rng(6)
    for shape in ((64, 1), (4, 1)):  # 64 ages; 4 numbers an event
        variable = next(v for v in found.trainable_variables if tuple(v.shape) == shape)
        variable.assign(0.3 * random.normal(size=shape))
    return found


def plain_pooling(pooling, parts, row):
    """The weighted sum of the items' vectors over the root of the weights' sum, in numpy."""
    by_shape = {tuple(v.shape): v.numpy() for v in pooling.trainable_variables}
    known = [action for action in row if action[0] != 0]
    ages = [by_shape[64, 1][int(2 * np.log2(1 + 86_400 * age)), 0] for _, _, age in known]
    events = [parts.table("history_event")[event] @ by_shape[4, 1][:, 0] for _, event, _ in known]
    weights = np.exp(np.add(ages, events))
    return weights @ parts.table("item_id")[[item for item, *_ in known]] / np.sqrt(weights.sum())


def test_history_is_pooled_by_weight(pooling, parts, histories):
    found = pooling(histories(HISTORY, HISTORY[:1])).numpy()
    np.testing.assert_allclose(found[0], plain_pooling(pooling, parts, HISTORY), rtol=1e-4)
    np.testing.assert_allclose(found[1], plain_pooling(pooling, parts, HISTORY[:1]), rtol=1e-4)


def test_only_what_is_shown_is_pooled(pooling, parts, histories):
    shown = tf.constant([[True, False, True, False], [False] * 4])
    found = pooling(histories(HISTORY, HISTORY), shown).numpy()
    np.testing.assert_allclose(found[0], plain_pooling(pooling, parts, [HISTORY[0], HISTORY[2]]), rtol=1e-4)
    np.testing.assert_array_equal(found[1], 0.0)


def test_a_long_history_says_more_than_a_short_one(pooling, histories):
    # Four actions alike: 4 w v / sqrt(4 w) is twice w v / sqrt(w).
    once, four_times, never = pooling(histories(HISTORY[:1], HISTORY[:1] * 4, [])).numpy()
    np.testing.assert_allclose(four_times, 2 * once, rtol=1e-5)
    np.testing.assert_array_equal(never, 0.0)
