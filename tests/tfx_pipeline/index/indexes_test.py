from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from planted_clusters import brute_force
from planted_clusters import clustered
from planted_clusters import popular
from planted_clusters import recall

from tfx_pipeline.index.indexes import KINDS
from tfx_pipeline.index.indexes import build_index
from tfx_pipeline.index.indexes import kind_for


class Large(NamedTuple):
    """An index, as a graph too, what it holds, and its SavedModel's folder."""

    index: tf.Module
    search: Callable
    items: np.ndarray
    queries: np.ndarray
    folder: Path


def save(index, dim, folder):
    """With the answer as the only signature."""

    @tf.function(autograph=False)
    def search(queries, k):
        scores, positions = index(queries, k)
        return {"scores": scores, "positions": positions}

    specs = tf.TensorSpec([None, dim], tf.float32, "queries"), tf.TensorSpec([], tf.int32, "k")
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(index, str(folder), search.get_concrete_function(*specs), options)


@pytest.fixture(scope="module", params=KINDS)
def large(request, tmp_path_factory):
    """20,500 items, from where on ScaNN hashes."""
    items, queries = popular(20_500, 16)
    index = build_index(request.param, items, max_k=1000)
    folder = tmp_path_factory.mktemp(request.param)
    save(index, 17, folder)
    specs = [tf.TensorSpec([None, 17], tf.float32), tf.TensorSpec([], tf.int32)]
    search = tf.function(index.__call__, input_signature=specs, autograph=False)
    return Large(index, search, items, queries, folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10, 300])
def test_small_catalogues_are_searched_exactly(kind, k):
    items, queries = clustered(300, 8)  # five blocks; ScaNN is brute force below 20,000 items
    index = build_index(kind, items, max_k=300)
    if kind == "ivf":
        index.effort = index.efforts()[-1][-1]  # all blocks
    scores, positions = index(tf.constant(queries), tf.constant(k))
    expected_scores, expected = brute_force(queries, items, k)
    assert positions.dtype == tf.int32
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


@pytest.mark.parametrize("k", [1, 100, 1000, 20_500])
def test_most_of_a_large_catalogue_is_found_with_exact_scores(large, k):
    _, search, items, queries, _ = large
    scores, positions = search(tf.constant(queries), tf.constant(k))
    assert positions.shape == (32, k)
    assert all(len(set(row)) == k for row in positions.numpy().tolist())
    assert recall(positions, brute_force(queries, items, k)[1]) >= 0.9
    own = np.take_along_axis(queries @ items.T, positions.numpy(), axis=1)
    np.testing.assert_allclose(scores, own, atol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_a_saved_index_answers_the_same_in_another_process(large, fresh_process):
    _, search, _, queries, folder = large
    answer = fresh_process(str(folder), "serving_default", queries=queries, k=np.int32(100))
    scores, positions = search(tf.constant(queries), tf.constant(100))
    np.testing.assert_array_equal(answer["positions"], positions)
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-6)


def test_the_vectors_are_the_catalogues_and_are_saved_once(large):
    index, _, items, _, folder = large
    np.testing.assert_array_equal(index.vectors, items)
    saved = tf.train.load_checkpoint(str(folder / "variables/variables"))
    dtypes, shapes = saved.get_variable_to_dtype_map(), saved.get_variable_to_shape_map()
    as_large = [dtypes[name] for name, shape in shapes.items() if shape == list(items.shape)]
    assert as_large.count(tf.float32) == 1


def test_an_answer_depends_on_no_other_query(large):
    _, search, _, queries, _ = large
    alone = [search(tf.constant(queries[row : row + 1]), tf.constant(50))[1].numpy()[0] for row in range(4)]
    np.testing.assert_array_equal(search(tf.constant(queries[:4]), tf.constant(50))[1], alone)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "items",
    [
        np.ones((1, 4), np.float32),
        clustered(50, 4)[0],
        np.ones((500, 4), np.float32),
        np.repeat(clustered(5, 4, num_queries=1)[0], 400, axis=0),
    ],
    ids=["one item", "fewer than a block", "all alike", "five items, 400 times each"],
)
def test_every_k_and_batch_is_answered_with_distinct_items(kind, items):
    index = build_index(kind, items, max_k=len(items))
    search = tf.function(lambda queries, k: index(queries, k), autograph=False)
    queries = np.random.default_rng(7).normal(size=(3, 4)).astype(np.float32)
    for k in {1, len(items) // 2 + 1, len(items)}:
        assert search(tf.zeros([0, 4]), tf.constant(k))[1].shape == (0, k)
        scores, positions = search(tf.constant(queries), tf.constant(k))
        np.testing.assert_allclose(scores, brute_force(queries, items, k)[0], atol=1e-5)
        np.testing.assert_allclose(scores, np.take_along_axis(queries @ items.T, positions.numpy(), 1), atol=1e-5)
        assert all(len(set(row)) == k for row in positions.numpy().tolist())


@pytest.mark.parametrize(
    ("kind", "num_items", "expected"),
    [
        ("auto", 19_999, "exact"),
        ("auto", 20_000, "scann"),
        ("exact", 10**6, "exact"),
        ("scann", 10, "scann"),
        ("ivf", 10, "ivf"),
    ],
)
def test_auto_is_resolved_by_size(kind, num_items, expected):
    assert kind_for(kind, num_items) == expected


def test_an_unknown_kind_is_refused():
    text = r"index.kind must be one of \('exact', 'scann', 'scann_int8', 'ivf'\). Received: 'hnsw'"
    with pytest.raises(ValueError, match=text):
        build_index("hnsw", np.eye(2, dtype=np.float32), max_k=1)
