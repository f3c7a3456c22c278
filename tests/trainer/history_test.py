import numpy as np
import pytest
import tensorflow as tf

from trainer.history import hide
from trainer.history import weighted_sums


def features(items):
    """Transformed histories; an action's event is its item's number plus 50."""
    lengths, values = [len(row) for row in items], np.concatenate([np.zeros(0, np.int64), *items]).astype(np.int64)
    ragged = tf.RaggedTensor.from_row_lengths(values, lengths)
    return {"history_item_id_xf": ragged, "history_event_xf": ragged + 50}


def hidden(items, *, share):
    random = tf.random.Generator.from_seed(5)
    return tuple(value.numpy() for value in hide(features(items), share=share, random=random))


ROWS = 20_000
FULL = [[7, 0, 8, 9]] * ROWS  # one item is unknown


def test_the_share_is_hidden_of_each_place():
    shown, *_ = hidden(FULL, share=0.3)
    # A standard deviation is sqrt(0.3 * 0.7 / 20,000) = 0.0032; an unknown item is never shown.
    np.testing.assert_allclose(shown.mean(axis=0), [0.7, 0.0, 0.7, 0.7], atol=0.015)


def test_the_chosen_action_is_a_hidden_one_with_its_own_event():
    shown, items, events = hidden(FULL, share=0.3)
    is_hidden = np.array([7, 0, 8, 9]) * ~shown
    nothing = is_hidden.sum(axis=1) == 0
    np.testing.assert_array_equal(items == 0, nothing)
    assert 0 < nothing.sum() < ROWS
    np.testing.assert_array_equal(events, np.where(nothing, 0, items + 50))
    assert (is_hidden == items[:, np.newaxis]).any(axis=1).all()


@pytest.mark.parametrize("places", [(0, 2), (2, 3), (0, 2, 3)])
def test_the_choice_among_the_hidden_is_even(places):
    shown, items, _ = hidden(FULL, share=0.5)
    is_hidden = ~shown & (np.array(FULL[0]) != 0)
    rows = (is_hidden == np.isin(np.arange(4), places)).all(axis=1)  # 2,500 rows, an eighth
    counts = [np.mean(items[rows] == FULL[0][place]) for place in places]
    np.testing.assert_allclose(counts, 1 / len(places), atol=0.05)  # 5 standard deviations of sqrt(0.25 / 2,500)


def test_a_share_of_0_hides_nothing():
    shown, items, events = hidden([[7, 0, 8], [9]], share=0.0)
    assert shown.tolist() == [[True, False, True], [True, False, False]]
    assert items.tolist() == events.tolist() == [0, 0]


def test_nothing_is_hidden_of_what_is_not_there():
    shown, items, events = hidden([[], [7] * 50, [0, 0]], share=0.99)
    assert not shown[0].any()
    assert not shown[2].any()
    assert items.tolist() == [0, 7, 0]
    assert events.tolist() == [0, 57, 0]


def test_a_batch_without_any_history():
    shown, items, events = hidden([[], []], share=0.5)
    assert shown.shape == (2, 0)
    assert items.tolist() == events.tolist() == [0, 0]


def test_weighted_sums_and_their_gradients_are_those_of_the_dense_product():
    random = np.random.default_rng(4)
    places = tf.constant(random.integers(0, 7, (5, 9)), tf.int32)
    shown = tf.constant(random.uniform(size=(5, 9)) < 0.6) & (tf.range(5) != 3)[:, tf.newaxis]  # a row of nothing
    weights = tf.where(shown, tf.constant(random.uniform(0.1, 2.0, (5, 9)), tf.float32), 0.0)
    vectors = tf.constant(random.normal(size=(7, 4)), tf.float32)

    def dense(weights, places, vectors):
        return tf.einsum("bn,bnd->bd", weights, tf.gather(vectors, places))

    found = []
    for sums in (weighted_sums, dense):
        with tf.GradientTape() as tape:
            tape.watch([weights, vectors])
            values = sums(weights, places, vectors)
            total = tf.reduce_sum(tf.sin(values))
        of_weights, of_vectors = tape.gradient(total, [weights, vectors])
        found.append([values, tf.where(shown, of_weights, 0.0), tf.convert_to_tensor(of_vectors)])
    for value, expected in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    assert float(tf.reduce_max(tf.abs(found[0][0][3]))) == 0.0
