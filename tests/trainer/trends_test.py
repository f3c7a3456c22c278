import numpy as np
import pytest

from trainer.associations import Rows
from trainer.trends import trends

DAY_US = 86_400_000_000


def rows_of(*days_and_items):
    days, items = (np.array(column) for column in zip(*days_and_items, strict=True))
    return Rows(np.zeros(len(items), np.int64), (days * DAY_US).astype(np.int64), items.astype(np.int64))


def test_trends_are_the_log_of_the_mixed_popularity_over_the_whole():
    # Weights by a half-life of 10 days, at day 20: item 1 has 0.25 + 0.25, item 2 has 1, item 3 has 0.5.
    rows = rows_of((0, 1), (0, 1), (20, 2), (10, 3))
    found = trends(rows, num_items=5, half_life_days=10.0, now_us=20 * DAY_US)
    # Shares: recent 0.5, 1 and 0.5 of 2; whole 2, 1 and 1 of 4.
    ratios = np.array([0.25 / 0.5, 0.5 / 0.25, 0.25 / 0.25])
    np.testing.assert_allclose(found, [0.0, *np.log(0.7 * ratios + 0.3), 0.0], rtol=1e-6)


def test_a_steady_log_has_no_trend():
    rows = rows_of(*((day, item) for day in range(50) for item in (1, 2)))
    np.testing.assert_allclose(trends(rows, num_items=3, half_life_days=7.0, now_us=50 * DAY_US), 0.0, atol=1e-6)


def test_an_item_that_is_gone_keeps_three_tenths():
    rows = rows_of((0, 1), (10_000, 2))
    found = trends(rows, num_items=3, half_life_days=1.0, now_us=10_000 * DAY_US)
    np.testing.assert_allclose(found[1], np.log(0.3), rtol=1e-6)


@pytest.mark.parametrize("rows", [rows_of((0, 0)), Rows(*(np.zeros(0, np.int64),) * 3)])
def test_padding_and_no_rows_have_no_trend(rows):
    np.testing.assert_array_equal(trends(rows, num_items=3, half_life_days=7.0, now_us=0), np.zeros(3))
