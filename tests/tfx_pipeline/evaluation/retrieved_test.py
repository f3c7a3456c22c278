import numpy as np
import pytest
from planted_catalog import catalog_of

from tfx_pipeline.evaluation.retrieved import best_items
from tfx_pipeline.evaluation.retrieved import describe
from tfx_pipeline.evaluation.retrieved import gini
from tfx_pipeline.evaluation.retrieved import popular_items
from tfx_pipeline.evaluation.rows import Queries

IDS = np.array([b"a", b"b", b"c", b"d"])
RATES = np.array([0.1, 0.5, 0.3, 0.1], np.float32)


@pytest.fixture
def catalog():
    return catalog_of(IDS, np.eye(4), positive_rates=RATES, advertisers=np.array([b"x", b"y", b"x", b""]))


def test_what_is_shown_is_described(catalog):
    found = describe(np.array([[0, 1], [0, 3], [0, 1]]), catalog)
    assert found["coverage"] == 0.75
    # Shown 3, 2, 0 and 1 times; in order 0, 1, 2, 3: (-3 * 0 - 1 * 1 + 1 * 2 + 3 * 3) / (4 * 6).
    assert found["gini"] == pytest.approx(10 / 24)
    assert found["mean_popularity"] == pytest.approx((3 * 0.1 + 2 * 0.5 + 0.1) / 6 / 0.25)
    assert found["advertisers"] == [
        {"advertiser_id": "x", "share": 0.5},
        {"advertiser_id": "y", "share": pytest.approx(1 / 3)},
    ]


@pytest.mark.parametrize(("counts", "expected"), [([2, 2, 2], 0.0), ([0, 0, 9], 2 / 3)])
def test_gini(counts, expected):
    assert gini(np.array(counts)) == pytest.approx(expected)


def test_bonuses_raise_and_lower():
    vectors = np.array([[5.0], [4.0], [3.0], [2.0]], np.float32)
    queries = Queries(
        np.ones((2, 1), np.float32), [np.array([0, 3]), np.array([], int)], [np.array([-9.0, 9.0]), np.zeros(0)]
    )
    places, scores = best_items(queries, vectors, 2)
    np.testing.assert_array_equal(places, [[3, 1], [0, 1]])
    np.testing.assert_array_equal(scores, [[11, 4], [5, 4]])


def test_the_popular_are_the_same_for_all(catalog):
    np.testing.assert_array_equal(popular_items(catalog, 2, 3), [[1, 2, 0], [1, 2, 0]])
