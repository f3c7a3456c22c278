"""What a rank is worth: recall, NDCG, reciprocal rank, and recall weighted by value, row by row."""

from typing import NamedTuple

import numpy as np

RECALLS = (1, 10, 100, 1000)
NDCGS = (10, 100)
HEADLINE = "recall@100"
VALUE_RECALL = "value_recall@100"
CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metric(NamedTuple):
    """A weighted mean over rows.

    Attributes:
        outcomes: [rows] float64.
        weights: [rows] float64 >= 0.
    """

    outcomes: np.ndarray
    weights: np.ndarray


def metrics_of(ranks: np.ndarray, values: np.ndarray) -> dict[str, Metric]:
    """By name, of rows with one positive each.

    With one positive, NDCG@k is `1 / log2(2 + rank)` below k and MRR the mean of `1 / (1 + rank)` (Jarvelin & Kekalainen, TOIS
    2002). In value-weighted recall a row counts by the conversion's value; rows without one do not count.

    Args:
        ranks: [rows], 0 is best; infinite for an item that the scorer does not have.
        values: [rows], NaN where unknown.
    """
    rows = np.ones(len(ranks))
    gains = 1.0 / np.log2(2.0 + ranks)
    return {
        **{f"recall@{k}": Metric((ranks < k).astype(float), rows) for k in RECALLS},
        **{f"ndcg@{k}": Metric(np.where(ranks < k, gains, 0.0), rows) for k in NDCGS},
        "mrr": Metric(1.0 / (1.0 + ranks), rows),
        VALUE_RECALL: Metric((ranks < 100).astype(float), np.nan_to_num(values)),
    }


def recall_curve(ranks: dict[str, np.ndarray], *, num_items: int) -> dict[str, list]:
    """Recall at each k up to the catalogue's size, by scorer."""
    ks = [k for k in CURVE if k <= num_items]
    curve: dict[str, list] = {"k": ks}
    for name, found in ranks.items():
        curve[name] = [float(np.mean(found < k)) if len(found) else float("nan") for k in ks]
    return curve
