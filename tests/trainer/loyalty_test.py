import numpy as np

from trainer.associations import Rows
from trainer.loyalty import loyalty


def rows_of(*rows):
    """Of (user, moment, item)."""
    return Rows(*np.array(rows, np.int64).reshape(-1, 3).T)


def test_what_users_turn_to_again_is_counted_by_moments():
    # Item 1: two users, one of them three times (twice in one moment, which is once). Item 2: one user, once. 0 is no item.
    rows = rows_of((7, 30, 1), (7, 10, 1), (7, 20, 1), (7, 20, 1), (8, 10, 1), (7, 10, 2), (8, 10, 0), (8, 20, 0))
    mean = 2 / 3
    expected = [np.log(5 / 5), np.log((2 + 5 * mean) / (2 + 5) / mean), np.log((0 + 5 * mean) / (1 + 5) / mean), 0.0]
    np.testing.assert_allclose(loyalty(rows, num_items=4), expected, rtol=1e-5)


def test_popularity_does_not_tell_it():
    loyal = [(user, moment, 1) for user in range(10) for moment in range(20)]
    broad = [(user, 0, 2) for user in range(200)]
    found = loyalty(rows_of(*loyal, *broad), num_items=3)
    assert found[1] > 1.0
    assert found[2] < -1.0


def test_where_nothing_is_turned_to_again_there_is_none():
    np.testing.assert_array_equal(loyalty(rows_of((1, 5, 1), (2, 5, 1)), num_items=3), np.zeros(3))
    np.testing.assert_array_equal(loyalty(rows_of(), num_items=3), np.zeros(3))
