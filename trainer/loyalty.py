"""Loyalty: which items are bought again by those who bought them."""

import numpy as np

from trainer.associations import Rows
from trainer.preprocessing import PADDING

_PRIOR = 5.0  # users of the average item, added to each


def loyalty(rows: Rows, *, num_items: int) -> np.ndarray:
    """How often an item is turned to again, beside the average one: `log((r_j + 5 m) / (u_j + 5) / m)`.

    `u_j` is the number of users of item j, `r_j` that of the moments at which one of them turned to it again, `m = sum r / sum u`.
    Popularity does not tell it: a thousand users once and a hundred users ten times are as popular.

    Args:
        rows: of training.
        num_items: entries of the item table, padding included.

    Returns:
        [num_items] float32; 0 for an item without rows, and where nothing is turned to again.
    """
    rows = rows.at(rows.items != PADDING)
    rows = rows.at(np.lexsort((rows.moments_us, rows.items, rows.users)))
    is_user, is_moment = (_is_first(*parts) for parts in ((rows.users, rows.items), rows))
    users = np.bincount(rows.items[is_user], minlength=num_items)
    again = np.bincount(rows.items[is_moment], minlength=num_items) - users
    if not again.any():
        return np.zeros(num_items, np.float32)
    mean = again.sum() / users.sum()
    return np.log((again + _PRIOR * mean) / (users + _PRIOR) / mean).astype(np.float32)


def _is_first(*columns: np.ndarray) -> np.ndarray:
    """[rows] whether a sorted row differs from the one before in any column."""
    differs = [np.concatenate([[True], column[1:] != column[:-1]])[: len(column)] for column in columns]
    return np.any(differs, axis=0)
