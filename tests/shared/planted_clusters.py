"""Catalogues with clusters, and their exact answers."""

import numpy as np


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(num_items, dim, *, num_queries=32):
    """Unit vectors around 64 centers, and queries near some of them."""
    random = np.random.default_rng(5)
    centers = random.normal(size=(64, dim))
    items = centers[random.integers(64, size=num_items)] + 0.5 * random.normal(size=(num_items, dim))
    return unit(items), unit(items[:num_queries] + 0.2 * random.normal(size=(num_queries, dim)))


def popular(num_items, dim, *, num_queries=32):
    """As the towers embed: an item's last coordinate is its log popularity, a query's is 1."""
    items, queries = clustered(num_items, dim, num_queries=num_queries)
    popularity = np.random.default_rng(6).normal(-9, 1.5, size=(num_items, 1))
    return np.hstack([items, popularity]).astype(np.float32), np.hstack([queries, np.ones((num_queries, 1))]).astype(
        "f4"
    )


def brute_force(queries, items, k):
    scores = queries @ items.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def recall(found, expected):
    """Share of the expected positions that were found."""
    shared = [
        len(set(ours) & set(theirs)) for ours, theirs in zip(np.asarray(found).tolist(), expected.tolist(), strict=True)
    ]
    return sum(shared) / expected.size
