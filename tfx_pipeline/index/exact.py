"""Brute force: the oracle of every other index, on stock TensorFlow operations."""

import functools

import numpy as np
import tensorflow as tf

from tfx_pipeline.index.branches import as_one_node
from tfx_pipeline.index.variables import shared_variable


class ExactIndex(tf.Module):
    """All inner products.

    Not `tfrs.layers.factorized_top_k.BruteForce`, whose k is fixed at export: a request for 10 would sort 1,000.

    Args:
        vectors: [items, dim] float32.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__(name="exact")
        self.vectors = shared_variable(vectors, name="item_vectors")

    def __call__(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best."""
        return exact_top_k(self.vectors, queries, k)


def exact_top_k(vectors: tf.Tensor, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores and positions [batch, k] of the largest inner products; of equal ones the lower position is first."""
    scores, positions = tf.math.top_k(tf.matmul(queries, vectors, transpose_b=True), k=k)
    return scores, positions


def fill_short_rows(
    vectors: tf.Tensor,
    queries: tf.Tensor,
    k: tf.Tensor,
    scores: tf.Tensor,
    positions: tf.Tensor,
    *,
    is_found: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gives queries for which an index found fewer than k items the exact answer; the others keep theirs.

    Args:
        vectors: [items, dim].
        queries: [batch, dim].
        k: scalar int32.
        scores: [batch, up to k].
        positions: [batch, up to k] int32.
        is_found: [batch, up to k] whether there is a result in this place.

    Returns:
        Scores and positions, [batch, k].
    """
    missing = k - tf.shape(scores)[1]

    def filled() -> tuple[tf.Tensor, tf.Tensor]:
        exact = exact_top_k(vectors, queries, k)
        is_whole = tf.reduce_all(is_found, axis=1, keepdims=True) & (missing == 0)
        padded = (tf.pad(part, [[0, 0], [0, missing]]) for part in (scores, positions))
        return tuple(map(functools.partial(tf.where, is_whole), padded, exact))

    return tf.cond(tf.reduce_all(is_found) & (missing == 0), lambda: (scores, positions), as_one_node(filled))
