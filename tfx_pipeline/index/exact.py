"""Brute force: the oracle of every other index, on stock TensorFlow operations."""

import numpy as np
import tensorflow as tf

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
    vectors: tf.Tensor, queries: tf.Tensor, scores: tf.Tensor, positions: tf.Tensor, *, is_found: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gives queries for which an index found fewer than k items the exact answer; the others keep theirs.

    Args:
        vectors: [items, dim].
        queries: [batch, dim].
        scores: [batch, k].
        positions: [batch, k] int32.
        is_found: [batch, k] whether there is a result in this place.
    """
    is_short = ~tf.reduce_all(is_found, axis=1, keepdims=True)

    def filled() -> tuple[tf.Tensor, tf.Tensor]:
        exact_scores, exact_positions = exact_top_k(vectors, queries, tf.shape(scores)[1])
        return tf.where(is_short, exact_scores, scores), tf.where(is_short, exact_positions, positions)

    return tf.cond(tf.reduce_any(is_short), filled, lambda: (scores, positions))
