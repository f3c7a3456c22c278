import numpy as np
import pytest
import tensorflow as tf
from planted_clusters import brute_force
from planted_clusters import clustered

from benchmarks.index_memory import MemoryGrowth
from tfx_pipeline.index.effort import Effort
from tfx_pipeline.index.scann_index import ScannIndex
from tfx_pipeline.index.scann_index import scann_leaves
from tfx_pipeline.index.scann_index import starting_effort


@pytest.mark.parametrize(
    ("num_items", "leaves", "effort"),
    [
        (19_999, 0, Effort(0, 0)),
        (20_000, 141, Effort(14, 300)),  # sqrt(20,000) = 141.4, a tenth of the leaves
        (100_000, 316, Effort(32, 300)),
        (1_000_000, 1000, Effort(100, 300)),
    ],
)
def test_the_start_follows_from_the_size(num_items, leaves, effort):
    assert scann_leaves(num_items) == leaves
    assert starting_effort(num_items) == effort


def test_leaves_with_too_few_items_are_filled_up_exactly():
    items, queries = clustered(20_000, 8)
    index = ScannIndex(items, max_k=1000)
    queries, k = tf.constant(queries), tf.constant(100)
    expected_scores, expected = brute_force(queries.numpy(), items, 900)
    _, few = index.search(queries, k, tf.constant(1), tf.constant(100))  # one leaf of 141 holds about 141 items
    assert few.shape == (32, 100)
    scores, positions = index.search(queries, tf.constant(900), tf.constant(0), tf.constant(100))
    assert all(len(set(row)) == 900 for row in positions.numpy().tolist())
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    # Processors round differently: places differ only where scores hardly do.
    exact = np.take_along_axis(queries.numpy() @ items.T, positions.numpy(), axis=1)
    np.testing.assert_allclose(exact, expected_scores, atol=1e-5)
    assert np.mean(positions.numpy() == expected) > 0.999


def test_searches_use_the_searcher_that_was_built():
    items = np.random.default_rng(1).normal(size=(15_000, 256)).astype(np.float32)
    index = ScannIndex(items, max_k=10)
    memory = MemoryGrowth()
    index(tf.constant(items[:3]), tf.constant(10))
    assert memory.held_mb() < items.nbytes / 2**20 / 2  # another one would copy the vectors
