"""The index benchmark: recall, the choice of a setting, ratios and the report, each against a case made by hand."""

import numpy as np
import pytest

from benchmarks import index_distances
from benchmarks import index_points
from benchmarks import index_recall
from benchmarks import index_report
from benchmarks.index_points import Point

# Inner products with the query [1, 0] are the first coordinates: 5, 4, 3, 3, 2, 1.
VECTORS = np.array([[5, 0], [4, 1], [3, 2], [3, 9], [2, 7], [1, 8]], np.float32)
QUERY = np.array([[1, 0]], np.float32)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0, 1, 2], 1.0),
        ([3, 1, 0], 1.0),  # of two items with equal scores, any, in any order
        ([0, 1, 4], 2 / 3),
        ([0, 0, 0], 1 / 3),  # an item counts once
        ([0, 1, -1], 2 / 3),  # nothing was found in the last place
        ([4, 5, -1], 0.0),
    ],
)
def test_recall_is_the_share_of_the_exact_best(positions, expected):
    kth_best = index_recall.kth_best_scores(VECTORS, QUERY, k=3)
    assert kth_best.tolist() == [3.0]
    found = index_recall.recall(np.array([positions]), VECTORS, QUERY, kth_best=kth_best)
    assert found == pytest.approx(expected)


def test_recall_is_the_mean_over_queries():
    queries = np.array([[1, 0], [0, 1]], np.float32)  # best by the second coordinate: items 3, 5, 4
    kth_best = index_recall.kth_best_scores(VECTORS, queries, k=3)
    assert kth_best.tolist() == [3.0, 7.0]
    found = index_recall.recall(np.array([[0, 1, 2], [3, 1, 0]]), VECTORS, queries, kth_best=kth_best)
    assert found == pytest.approx((1 + 1 / 3) / 2)


def test_smallest_distances_are_largest_inner_products_whatever_the_norms():
    random = np.random.default_rng(2)
    vectors = (random.normal(size=(200, 6)) * random.uniform(0.1, 9, size=(200, 1))).astype(np.float32)
    queries = random.normal(size=(20, 6)).astype(np.float32)
    items = index_distances.items_by_distance(vectors)
    asked = index_distances.queries_by_distance(queries, dim=items.shape[1])
    distances = np.linalg.norm(asked[:, np.newaxis] - items, axis=2)
    np.testing.assert_array_equal(np.argsort(distances)[:, :5], np.argsort(-queries @ vectors.T)[:, :5])
    plain = np.linalg.norm(queries[:, np.newaxis] - vectors, axis=2)
    assert (np.argmin(plain, axis=1) != np.argmin(distances, axis=1)).any()  # without it others would be found


def test_vectors_of_equal_norms_stay_as_they_are():
    vectors = np.eye(4, dtype=np.float32)
    assert index_distances.items_by_distance(vectors) is vectors
    np.testing.assert_array_equal(index_distances.queries_by_distance(vectors, dim=4), vectors)


def point(system, name, recall, each_ms, *, per_s=(1.0, 1.0, 1.0), build_s=1.0, memory_mb=1.0):
    """A point with three rounds of `each_ms`, which p50 follows."""
    rounds = [
        {"p50_ms": each, "p99_ms": 2 * each, "each_ms": each, "per_s": rate}
        for each, rate in zip(each_ms, per_s, strict=False)
    ]
    return Point(system, name, {}, recall, build_s, memory_mb, memory_mb, rounds)


def names(points):
    return [found.variant for found in points]


CURVE = [
    point("a", "quick", 0.90, (1, 1, 1)),
    point("a", "lucky once", 0.96, (1, 9, 9)),
    point("a", "steady", 0.95, (5, 4, 6)),
    point("a", "slow", 0.99, (20, 20, 20)),
    point("b", "other", 0.97, (2, 2, 2)),
]


@pytest.mark.parametrize(
    ("target", "most", "expected"),
    [
        (0.95, 1, ["other"]),
        (0.95, 3, ["other", "steady", "lucky once"]),  # by the medians 2, 5 and 9
        (0.98, 1, ["slow"]),
        (0.995, 1, []),
    ],
)
def test_the_fastest_of_those_that_reach_the_recall_is_chosen(target, most, expected):
    assert names(index_points.fastest(CURVE, target=target, most=most)) == expected


def test_each_system_keeps_those_that_may_win_at_a_target():
    kept = index_points.contenders(CURVE, targets=(0.95, 0.98), most=1)
    assert names(kept) == ["steady", "slow", "other"]


def test_only_what_was_measured_in_every_round_is_in_the_table():
    dropped = point("a", "dropped", 0.99, (0.1,))
    assert names(index_points.finalists([*CURVE, dropped])) == names(CURVE)


def test_a_ratio_is_the_median_of_the_rounds():
    ours, theirs = point("a", "", 1, (2, 30, 4)), point("b", "", 1, (1, 10, 4))
    assert index_points.ratio(ours, theirs, "each_ms") == 2  # of 2, 3 and 1; that of the medians would be 1


def test_the_report_says_what_was_reached_and_what_not():
    points = [
        point("exact (SavedModel)", "exact", 1.0, (60, 60, 60)),
        point("scann (SavedModel)", "scann", 0.97, (2, 2.4, 2.6), per_s=(900, 900, 900), build_s=5, memory_mb=300),
        point("scann_int8 (SavedModel)", "", 0.97, (3, 3, 3), per_s=(600, 600, 600), build_s=5, memory_mb=100),
        point("ivf (SavedModel)", "ivf", 0.96, (20, 20, 20)),
        point("raw ScaNN", "", 0.99, (2, 2, 2), per_s=(1000, 1000, 1000)),
        point("hnswlib M16", "", 0.99, (3, 3, 3), per_s=(300, 450, 450), build_s=50, memory_mb=150),
    ]
    text = index_report.as_text(points, {"faiss Flat": "No module named 'faiss'"})
    lines = text.splitlines()
    assert "faiss Flat: not measured: No module named 'faiss'" in lines
    # 2 / 2, 2.4 / 2 and 2.6 / 2: 1.2. hnswlib: 900 / 450, 50 / 5 and 150 / 300. exact / ivf: 60 / 20.
    assert [line for line in lines if line.startswith("recall >= 0.95: ")] == [
        "recall >= 0.95: reached: scann / raw ScaNN, each 1.20 (aim at most 1.3), p50 from Python 1.20",
        "recall >= 0.95: MISSED: scann beside hnswlib M16, times as good: queries/s 2.00, build 10.00, memory 0.50 "
        "(aim above 1 in each)",
        # 600 / 300, 600 / 450 and 600 / 450: 1.33; 50 / 5; 150 / 100.
        "recall >= 0.95: reached: scann_int8 beside hnswlib M16, times as good: queries/s 1.33, build 10.00, memory 1.50 "
        "(aim above 1 in each)",
        "recall >= 0.95: MISSED: exact / ivf, each 3.0 (aim at least 5), p50 from Python 3.0",
    ]
    assert [line for line in lines if line.startswith("recall >= 0.98: ")] == [
        "recall >= 0.98: MISSED: scann does not reach it"
    ]
    assert lines[8].split()[:5] == ["exact", "(SavedModel)", "exact", "1.000", "60.000"]
    assert lines[9].split() == ["scann", "(SavedModel)", "not", "reached", "0.970"]
