import numpy as np
import pytest

from tfx_pipeline.evaluation import device_counts
from tfx_pipeline.evaluation.tiles import count_above
from tfx_pipeline.evaluation.tiles import top_k

NUM_ITEMS = 5_000  # more than two tiles, the last one not whole
NUM_ROWS = 700  # more than one block of rows


@pytest.fixture(scope="module")
def given():
    """Whole numbers: products are exact, and many are equal."""
    random = np.random.default_rng(3)
    return tuple(random.integers(-3, 4, (number, 6)).astype(np.float32) for number in (NUM_ROWS, NUM_ITEMS))


@pytest.mark.parametrize("count_above", [count_above, device_counts.count_above])
def test_counts_are_those_of_all_scores(given, count_above, monkeypatch):
    monkeypatch.setattr(device_counts, "_COLUMNS", 2_048)
    queries, items = given
    scores = queries @ items.T
    limits = np.stack([scores[:, 7], scores[:, 9] - 0.5], axis=1)
    expected = (scores[:, :, np.newaxis] > limits[:, np.newaxis, :]).sum(axis=1)
    np.testing.assert_array_equal(count_above(queries, items, limits), expected)


@pytest.mark.parametrize("k", [1, 10, 1000, NUM_ITEMS])
def test_the_best_are_in_order_and_of_equals_the_first(given, k):
    queries, items = given[0][:20], given[1]
    scores = queries @ items.T
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    positions, found = top_k(queries, items, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(found, np.take_along_axis(scores, expected, axis=1))


def test_no_rows_have_no_answer(given):
    positions, scores = top_k(given[0][:0], given[1], 3)
    assert positions.shape == scores.shape == (0, 3)
    assert count_above(given[0][:0], given[1], np.zeros((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("k", [0, NUM_ITEMS + 1])
def test_an_unusable_k_is_refused(given, k):
    with pytest.raises(ValueError, match=rf"k must be between 1 and the number of items. Received: k={k} with 5000"):
        top_k(*given, k)


@pytest.fixture(scope="module")
def large():
    """More items than are sampled for a first limit."""
    return np.random.default_rng(4).normal(size=(40_000, 3)).astype(np.float32)


def test_the_best_of_many_are_found_by_way_of_a_sample(large):
    queries = np.random.default_rng(5).normal(size=(30, 3)).astype(np.float32)
    positions, scores = top_k(queries, large, 100)
    expected = np.sort(queries @ large.T, axis=1)[:, :-101:-1]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert all(len(set(row)) == 100 for row in positions)
    np.testing.assert_allclose(np.einsum("rd,rkd->rk", queries, large[positions]), scores, rtol=1e-5)


def test_where_no_item_beats_the_sample_all_are_looked_at(large):
    same = np.ones_like(large)
    positions, scores = top_k(np.ones((2, 3), np.float32), same, 50)
    np.testing.assert_array_equal(positions, np.arange(50)[np.newaxis].repeat(2, axis=0))
    assert (scores == 3).all()
