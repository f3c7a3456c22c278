"""Trends: which items sell more lately than over the whole log, and which are gone."""

import numpy as np

from trainer.associations import Rows
from trainer.preprocessing import PADDING

_SHARE = 0.7  # of the recent popularity, beside the whole log's: an item that paused keeps log(0.3)
_DAY_US = 86_400_000_000


def trends(rows: Rows, *, num_items: int, half_life_days: float, now_us: int) -> np.ndarray:
    """What recent popularity adds to the log of the whole log's: `log(0.7 r_j / f_j + 0.3)`.

    `f_j` is item j's share of the rows, `r_j` the same with each row weighing `2 ** -(age / half_life_days)`. The mean of both
    popularities, `0.7 r_j + 0.3 f_j`, forgets no item and follows the season.

    Args:
        rows: of training, at most as late as `now_us`.
        num_items: entries of the item table, padding included.
        half_life_days: after so many days a row weighs half, > 0.
        now_us: the moment that ages count from, microseconds.

    Returns:
        [num_items] float32 to add to logits; 0 for an item without rows, which says nothing of its trend.
    """
    rows = rows.at(rows.items != PADDING)
    if not len(rows.items):
        return np.zeros(num_items, np.float32)
    weights = np.exp2(-np.maximum(now_us - rows.moments_us, 0) / (_DAY_US * half_life_days))
    counts = np.bincount(rows.items, minlength=num_items)
    recent = np.bincount(rows.items, weights, minlength=num_items)
    # Far in the past all weights vanish together; their shares would be 0 / 0.
    ratios = (recent / max(recent.sum(), 1e-300)) / np.maximum(counts / counts.sum(), 1e-30)
    return np.where(counts > 0, np.log(_SHARE * ratios + 1.0 - _SHARE), 0.0).astype(np.float32)
