"""The exact answer and recall against it; imports numpy only, for every system's process measures itself."""

import numpy as np

_BLOCK = 64
_TOLERANCE = 1e-5


def kth_best_scores(vectors: np.ndarray, queries: np.ndarray, *, k: int) -> np.ndarray:
    """[queries] float32: the k-th largest inner product of each query, by brute force."""
    blocks = (queries[start : start + _BLOCK] @ vectors.T for start in range(0, len(queries), _BLOCK))
    return np.concatenate([np.partition(products, -k, axis=1)[:, -k] for products in blocks])


def recall(positions: np.ndarray, vectors: np.ndarray, queries: np.ndarray, *, kth_best: np.ndarray) -> float:
    """The mean share of the exact k best that was found.

    By score, not by position: of items with equal scores any is right. An item counts once, a position below 0 never.

    Args:
        positions: [queries, k] int, as a system answered.
        vectors: [items, dim] float32.
        queries: [queries, dim] float32.
        kth_best: [queries] float32, of `kth_best_scores`.
    """
    ordered = np.sort(positions, axis=1)
    is_new = np.diff(ordered, axis=1, prepend=-1) > 0  # the first of each; what is below 0 comes first and never rises
    products = np.einsum("qd,qkd->qk", queries, vectors[np.maximum(ordered, 0)])
    enough = kth_best - _TOLERANCE * np.abs(kth_best)
    return float(np.mean(is_new & (ordered >= 0) & (products >= enough[:, np.newaxis])))
