import numpy as np
import tensorflow as tf
from scipy import sparse

from benchmarks.purchases import Histories
from benchmarks.purchases import knn_scorer
from benchmarks.purchases import only_purchases
from benchmarks.purchases import seen_scorer
from benchmarks.purchases import table

_SHARES = np.array([0.4, 0.3, 0.2, 0.1])


def histories(*rows):
    """Of rows of (item, event), newest first."""
    items = [np.array([item for item, _ in row], np.int64) for row in rows]
    return Histories(items, [np.array([event for _, event in row], object) for row in rows])


def test_what_was_seen_comes_latest_first_and_what_was_bought_by_popularity():
    score = seen_scorer(
        histories([(3, b"click"), (2, b"click"), (3, b"click"), (1, b"click"), (1, b"purchase")], []),
        lambda block: np.tile(_SHARES, (2, 1)),
    )
    order = np.argsort(-score(slice(0, 2)), axis=1)
    np.testing.assert_array_equal(order, [[3, 2, 0, 1], [0, 1, 2, 3]])


def test_neighbours_of_distinct_items_are_summed():
    nearest = sparse.csr_matrix(np.array([[0, 0.5, 0, 0], [0.5, 0, 0.2, 0], [0, 0.2, 0, 0], [0, 0, 0, 0.0]]))
    score = knn_scorer(histories([(1, b"click"), (1, b"click"), (2, b"click")], []), nearest, _SHARES)
    np.testing.assert_allclose(score(slice(0, 1)), [[0.5, 0.2, 0.2, 0.0]], atol=1e-5)
    np.testing.assert_array_equal(np.argsort(-score(slice(1, 2))[0]), [0, 1, 2, 3])


def test_only_purchases_are_queries():
    def example(event):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[event]))
        return tf.train.Example(features=tf.train.Features(feature={"event": feature})).SerializeToString()

    records = [example(event) for event in (b"purchase", b"add_to_cart", b"purchase")]
    assert only_purchases(records) == [records[0], records[2]]


def test_the_table_has_recalls_of_all_and_of_unseen_and_the_paired_difference():
    users = np.array(["a", "a", "b", "c"])
    found = {
        "popularity": np.array([5.0, 5, 5, 5]),
        "seen": np.array([0.0, 5, 0, 5]),
        "model": np.array([0.0, 0, 0, 5]),
    }
    lines = table(found, users, np.array([True, False, False, False]), [1]).splitlines()
    assert lines[0] == "all: 4 purchases of 3 users"
    assert lines[6].startswith("| model | 0.750 (")
    assert lines[7].startswith("| the difference of the last two | 0.250 (0.000 to ")
    assert lines[9] == "not in the history: 3 purchases of 3 users"
    assert lines[15].startswith("| model | 0.667 (")
