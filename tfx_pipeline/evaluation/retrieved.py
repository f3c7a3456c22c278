"""What users are shown: how much of the catalogue, how unevenly, how popular, and whose."""

from typing import Any

import numpy as np

from tfx_pipeline.evaluation.rows import Queries
from tfx_pipeline.evaluation.tiles import top_k
from tfx_pipeline.index.catalog import Catalog

K = 100
_TOP_ADVERTISERS = 10


def best_items(queries: Queries, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact k best items with bonuses, best first; of equals, the first.

    Returns:
        Positions [rows, k] int64 and scores [rows, k] float32.
    """
    # A bonus may lower: as many more are looked at as have one.
    fetched = min(len(vectors), k + max(map(len, queries.listed), default=0))
    found, scores = np.zeros((len(queries.vectors), k), np.int64), np.zeros((len(queries.vectors), k), np.float32)
    for row, near in enumerate(top_k(queries.vectors, vectors, fetched)[0]):
        places = np.union1d(near, queries.listed[row])
        own = np.asarray(vectors[places] @ queries.vectors[row])
        own[np.searchsorted(places, queries.listed[row])] += queries.bonuses[row]
        best = np.argsort(-own, kind="stable")[:k]
        found[row], scores[row] = places[best], own[best]
    return found, scores


def popular_items(catalog: Catalog, num_rows: int, k: int) -> np.ndarray:
    """[rows, k]: the most popular, for every row the same."""
    best = np.argsort(-catalog.positive_rates, kind="stable")[:k]
    return np.broadcast_to(best, (num_rows, k))


def describe(found: np.ndarray, catalog: Catalog) -> dict[str, Any]:
    """Coverage, concentration and popularity of retrieved positions [users, k].

    `coverage`: share of the catalogue that anyone is shown. `gini` (Gini, 1912) of how often each item is shown: 0 all alike, 1 one
    item alone. `mean_popularity`: train positives of what is shown, over those of a mean item. `advertisers`: the largest shares of
    what is shown, with `advertiser_id`; those without an advertiser do not count.
    """
    counts = np.bincount(found.ravel(), minlength=len(catalog.item_ids))
    names, of_item = np.unique(catalog.advertisers, return_inverse=True)
    shares = np.bincount(of_item, counts, minlength=len(names)) / max(1, counts.sum())
    order = [place for place in np.argsort(-shares, kind="stable") if names[place]][:_TOP_ADVERTISERS]
    return {
        "coverage": float(np.mean(counts > 0)),
        "gini": gini(counts),
        "mean_popularity": float(catalog.positive_rates[found].mean() / max(catalog.positive_rates.mean(), 1e-30)),
        "advertisers": [{"advertiser_id": names[at].decode(), "share": float(shares[at])} for at in order],
    }


def gini(counts: np.ndarray) -> float:
    """Of numbers >= 0, not all 0."""
    ordered = np.sort(counts).astype(float)
    places = np.arange(1, len(ordered) + 1)
    return float((2 * places - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))
