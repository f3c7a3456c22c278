"""Largest inner products as smallest distances, for indexes that are built for distances; imports numpy only.

Bachrach et al., "Speeding Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product Spaces",
RecSys 2014. Where norms differ a graph or lists of inner products link items to those of large norm, whatever the queries
want: on vectors with a coordinate for popularity they found next to nothing.
"""

import numpy as np

_EQUAL_NORMS = 1e-3


def items_by_distance(vectors: np.ndarray) -> np.ndarray:
    """[items, dim] -> [items, dim + 1] of equal norms; as they are where the norms are equal already."""
    squares = np.einsum("id,id->i", vectors, vectors)
    missing = squares.max() - squares
    if missing.max() <= _EQUAL_NORMS * squares.max():
        return vectors
    return np.concatenate([vectors, np.sqrt(missing)[:, np.newaxis]], axis=1)


def queries_by_distance(queries: np.ndarray, *, dim: int) -> np.ndarray:
    """[queries, dim of the items as given] -> [queries, dim]: 0 in what was added to the items."""
    return np.pad(queries, [(0, 0), (0, dim - queries.shape[1])])
