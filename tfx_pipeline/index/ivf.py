"""An inverted file on stock TensorFlow operations: any unmodified server loads it."""

import functools

import numpy as np
import tensorflow as tf

from tfx_pipeline.index.branches import as_one_node
from tfx_pipeline.index.effort import TUNED_K
from tfx_pipeline.index.effort import Effort
from tfx_pipeline.index.effort import grid
from tfx_pipeline.index.effort import work_for_k
from tfx_pipeline.index.exact import exact_top_k
from tfx_pipeline.index.exact import fill_short_rows
from tfx_pipeline.index.partition import BLOCK_SIZE
from tfx_pipeline.index.partition import partition
from tfx_pipeline.index.variables import rows_of
from tfx_pipeline.index.variables import shared_variable

_REORDERED = 150
_SHARE_SEARCHED = 0.02
_LOWEST_SCORE = tf.float32.min


class IvfIndex(tf.Module):
    """Searches the blocks whose mean is nearest (Jégou et al., "Product Quantization for Nearest Neighbor Search", TPAMI 2011).

    Their items are scored by int8 residuals to the mean, and the best of those exactly. Beside `vectors` it costs about
    a third of them: an int8 copy, its gaps, positions and means.

    Args:
        vectors: [items, dim] float32.

    Attributes:
        vectors: [items, dim] float32.
        effort: of a query. Set it before the graph is traced.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__(name="ivf")
        positions = partition(vectors)
        is_gap = positions < 0
        residuals = vectors[positions]
        residuals[is_gap] = 0
        means = residuals.sum(1) / (~is_gap).sum(1, keepdims=True, dtype=np.float32)
        residuals -= means[:, np.newaxis]
        residuals[is_gap] = 0
        scales = np.maximum(np.abs(residuals).max((0, 1)), np.finfo(np.float32).tiny) / np.float32(127)
        residuals /= scales
        self.vectors = shared_variable(vectors, name="item_vectors")
        self._positions = shared_variable(positions, name="block_positions")
        self._means = shared_variable(means, name="block_means")
        self._residuals = tf.Variable(np.rint(residuals).astype(np.int8), trainable=False, name="block_residuals")
        self._scales = tf.Variable(scales, trainable=False, name="residual_scales")
        self.effort = Effort(max(1, round(_SHARE_SEARCHED * len(positions))), _REORDERED)

    def efforts(self) -> list[list[Effort]]:
        """What is worth trying: rows by rising parts searched, each by rising reordering."""
        num_blocks = self._means.shape[0]
        parts = grid(min(_at_least(TUNED_K), num_blocks), num_blocks)
        return [[Effort(part, times * TUNED_K // 2) for times in (2, 3, 6)] for part in parts]

    def __call__(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best that the effort finds."""
        return self.search(queries, k, self.effort.num_searched, self.effort.num_reordered)

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: int | tf.Tensor, num_reordered: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The same with a given effort."""
        scores, positions, is_found = self.candidates(queries, k, num_searched, num_reordered)
        return fill_short_rows(self.vectors, queries, k, scores, positions, is_found=is_found)

    def candidates(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: int | tf.Tensor, num_reordered: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What the searched blocks hold: scores, positions and whether there is one, each [batch, k]."""
        num_blocks = work_for_k(num_searched, k, at_least=_at_least(k), limit=self._means.shape[0])
        num_reordered = work_for_k(num_reordered, k, at_least=k, limit=num_blocks * BLOCK_SIZE)
        products, blocks = exact_top_k(self._means, queries, num_blocks)
        best = functools.partial(self._best_in_blocks, k=k, num_reordered=num_reordered)

        def one() -> tuple[tf.Tensor, tf.Tensor]:
            scores, positions = best(*(tf.gather(part, 0) for part in (queries, products, blocks)))
            return scores[tf.newaxis], positions[tf.newaxis]

        def each() -> tuple[tf.Tensor, tf.Tensor]:
            """One by one: the blocks of a whole batch need not fit into memory."""
            num_queries = tf.shape(queries)[0]
            none = [[0, tf.cast(num_queries == 0, tf.int32)], [0, 0]]  # map_fn refuses no rows
            rows = tuple(tf.pad(part, none) for part in (queries, products, blocks))
            found = tf.map_fn(lambda row: best(*row), rows, fn_output_signature=(tf.float32, tf.int32))
            return tuple(part[:num_queries] for part in found)

        # A loop takes a query alone a third longer.
        scores, positions = tf.cond(tf.shape(queries)[0] == 1, one, as_one_node(each))
        return scores, positions, positions >= 0

    def _best_in_blocks(
        self, query: tf.Tensor, products: tf.Tensor, blocks: tf.Tensor, *, k: tf.Tensor, num_reordered: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions [k] of one query [dim]; positions are -1 where the blocks hold too few items."""
        positions = rows_of(self._positions, blocks)
        residuals = tf.reshape(tf.cast(rows_of(self._residuals, blocks), tf.float32), [-1, self._scales.shape[0]])
        scores = tf.matmul((query * self._scales)[tf.newaxis], residuals, transpose_b=True)
        scores = tf.reshape(scores, [-1, BLOCK_SIZE]) + products[:, tf.newaxis]
        scores = tf.where(positions < 0, _LOWEST_SCORE, scores)
        _, places = tf.math.top_k(tf.reshape(scores, [-1]), k=num_reordered, sorted=False)
        candidates = tf.gather(tf.reshape(positions, [-1]), places)
        exact = tf.linalg.matvec(rows_of(self.vectors, tf.maximum(candidates, 0)), query)
        best, places = tf.math.top_k(tf.where(candidates < 0, _LOWEST_SCORE, exact), k=k)
        return best, tf.gather(candidates, places)


def _at_least(k: int | tf.Tensor) -> int | tf.Tensor:
    """Blocks that hold k items when they are half full, as most are."""
    return -(-2 * k // BLOCK_SIZE)
