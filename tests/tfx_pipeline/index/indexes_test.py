import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.index.indexes import build_index
from tfx_pipeline.index.indexes import kind_for
from tfx_pipeline.index.indexes import scann_parameters


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(num_items, dim, *, num_queries=32):
    random = np.random.default_rng(5)
    centers = random.normal(size=(64, dim))
    items = centers[random.integers(64, size=num_items)] + 0.5 * random.normal(size=(num_items, dim))
    return unit(items), unit(items[:num_queries] + 0.2 * random.normal(size=(num_queries, dim)))


def brute_force(queries, items, k):
    scores = queries @ items.T
    order = np.argsort(-scores, axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@pytest.mark.parametrize("kind", ["exact", "scann"])  # below 20,000 items ScaNN is brute force too
@pytest.mark.parametrize("k", [1, 10, 300])
def test_small_catalogues_are_searched_exactly(kind, k):
    items, queries = clustered(300, 8)
    scores, positions = build_index(kind, items, max_k=300)(tf.constant(queries), tf.constant(k))
    expected_scores, expected = brute_force(queries, items, k)
    assert positions.dtype == tf.int32
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


def test_scann_finds_most_of_a_large_catalogue():
    items, queries = clustered(20_500, 16)
    scores, positions = build_index("scann", items, max_k=100)(tf.constant(queries), tf.constant(10))
    _, expected = brute_force(queries, items, 10)
    found = [len(set(ours) & set(theirs)) / 10 for ours, theirs in zip(positions.numpy(), expected, strict=True)]
    assert np.mean(found) >= 0.9
    own = np.take_along_axis(queries @ items.T, positions.numpy(), axis=1)
    np.testing.assert_allclose(scores, own, atol=1e-4)  # reordered: the scores are exact


@pytest.mark.parametrize(
    ("num_items", "expected"),
    [
        (19_999, (0, 0, 0)),
        (20_000, (0, 0, 300)),
        (100_000, (316, 32, 300)),  # sqrt(100,000) = 316.2, a tenth of the leaves
        (1_000_000, (1000, 100, 300)),
    ],
)
def test_scann_parameters_follow_from_the_size(num_items, expected):
    found = scann_parameters(num_items, max_k=100)
    assert (found.num_leaves, found.num_leaves_searched, found.num_reordered) == expected


def test_no_more_are_reordered_than_there_are():
    assert scann_parameters(20_000, max_k=10_000).num_reordered == 20_000


@pytest.mark.parametrize(
    ("kind", "num_items", "expected"),
    [("auto", 19_999, "exact"), ("auto", 20_000, "scann"), ("exact", 10**6, "exact"), ("scann", 10, "scann")],
)
def test_auto_is_resolved_by_size(kind, num_items, expected):
    assert kind_for(kind, num_items) == expected


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"index.kind must be one of \('exact', 'scann'\). Received: 'ivf'"):
        build_index("ivf", np.eye(2, dtype=np.float32), max_k=1)
