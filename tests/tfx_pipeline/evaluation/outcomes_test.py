import numpy as np
import pytest

from tfx_pipeline.evaluation.outcomes import metrics_of
from tfx_pipeline.evaluation.outcomes import recall_curve

RANKS = np.array([0.0, 2.0, 9.5, 99.0, 100.0, np.inf])  # a tie counts half; an item that is not there has no rank


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recall@1", [1, 0, 0, 0, 0, 0]),
        ("recall@10", [1, 1, 1, 0, 0, 0]),
        ("recall@100", [1, 1, 1, 1, 0, 0]),
        ("recall@1000", [1, 1, 1, 1, 1, 0]),
        ("ndcg@10", [1, 0.5, 1 / np.log2(11.5), 0, 0, 0]),  # 1 / log2(2 + rank)
        ("ndcg@100", [1, 0.5, 1 / np.log2(11.5), 1 / np.log2(101), 0, 0]),
        ("mrr", [1, 1 / 3, 1 / 10.5, 1 / 100, 1 / 101, 0]),
        ("value_recall@100", [1, 1, 1, 1, 0, 0]),
    ],
)
def test_what_a_rank_is_worth(name, expected):
    found = metrics_of(RANKS, np.full(6, 2.0))[name]
    np.testing.assert_allclose(found.outcomes, expected, rtol=1e-12)


def test_rows_count_alike_but_by_their_value():
    found = metrics_of(RANKS, np.array([5.0, np.nan, 0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(found["value_recall@100"].weights, [5, 0, 0, 1, 2, 3])
    assert all((metric.weights == 1).all() for name, metric in found.items() if not name.startswith("value"))


def test_the_curve_ends_with_the_catalogue():
    found = recall_curve({"model": np.array([0.0, 3.0, 60.0, 400.0])}, num_items=150)
    assert found == {"k": [1, 2, 5, 10, 20, 50, 100], "model": [0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.75]}
