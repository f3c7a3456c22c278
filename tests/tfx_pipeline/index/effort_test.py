import pytest
import tensorflow as tf

from tfx_pipeline.index.effort import grid
from tfx_pipeline.index.effort import work_for_k


@pytest.mark.parametrize(
    ("amount", "k", "at_least", "limit", "expected"),
    [
        (7, 10, 1, 100, 7),  # fewer results: the same work
        (7, 100, 1, 100, 7),
        (7, 250, 1, 100, 18),  # 7 * 2.5 = 17.5
        (7, 1000, 1, 50, 50),
        (7, 10, 9, 100, 9),
        (7, 10, 9, 8, 8),
    ],
)
def test_work_grows_with_k(amount, k, at_least, limit, expected):
    assert int(work_for_k(amount, tf.constant(k), at_least=at_least, limit=limit)) == expected


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"), [(1, 1, (1,)), (4, 20, (4, 6, 9, 14, 20)), (1, 5, (1, 2, 3, 4, 5))]
)
def test_a_grid_grows_by_half(lowest, highest, expected):
    assert grid(lowest, highest) == expected  # 9 * 1.5 = 13.5 -> 14; 14 * 1.5 = 21 -> 20
