"""ScaNN: Guo et al., "Accelerating Large-Scale Inference with Anisotropic Vector Quantization", ICML 2020."""

import math
import uuid
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_pipeline.index.effort import TUNED_K
from tfx_pipeline.index.effort import Effort
from tfx_pipeline.index.effort import grid
from tfx_pipeline.index.effort import work_for_k
from tfx_pipeline.index.exact import fill_short_rows
from tfx_pipeline.index.variables import shared_variable

BRUTE_FORCE_BELOW = 20_000
_LEAVES_SEARCHED = 0.1
_DIMENSIONS_PER_BLOCK = 2
_ANISOTROPIC_THRESHOLD = 0.2
_TRAINING_SAMPLE = 250_000
_REORDERED = 300


class ScannIndex(tf.Module):
    """Built by ScaNN's own builder: `tfrs.layers.factorized_top_k.ScaNN` has no argument for the anisotropic threshold.

    Candidates are reordered by ScaNN's own copy of the vectors, of float32.

    Args:
        vectors: [items, dim] float32.
        max_k: most results that are asked for.
        is_int8: whether ScaNN's copy is of int8 instead, a quarter as large.

    Attributes:
        vectors: [items, dim] float32.
        effort: of a query; by the number of items until it is tuned. Set it before the graph is traced.
    """

    def __init__(self, vectors: np.ndarray, *, max_k: int, is_int8: bool = False) -> None:
        from scann.scann_ops.py import scann_ops  # registers operations: only where an index of this kind is built

        super().__init__(name="scann")
        self.vectors = shared_variable(vectors, name="item_vectors")
        self.effort = starting_effort(len(vectors))
        self._num_leaves = scann_leaves(len(vectors))
        builder = scann_ops.builder(self.vectors.read_value(), max_k, "dot_product")
        if self._num_leaves:
            tree = builder.tree(
                num_leaves=self._num_leaves,
                num_leaves_to_search=self.effort.num_searched,
                training_sample_size=min(len(vectors), _TRAINING_SAMPLE),
            )
            hashed = tree.score_ah(_DIMENSIONS_PER_BLOCK, anisotropic_quantization_threshold=_ANISOTROPIC_THRESHOLD)
            builder = hashed.reorder(self.effort.num_reordered, quantize=is_int8)
        else:
            builder = builder.score_brute_force()
        # Without a name, each signature in a session makes a searcher of its own, with its own copy of the vectors.
        self._searcher_name = f"scann-{uuid.uuid4()}"
        handle = builder.build(shared_name=self._searcher_name).searcher_handle
        *state, dataset = scann_ops.scann_to_tensors(handle)
        self._state = scann_ops.ScannState([*state, tf.zeros([])])
        if dataset.shape.rank:  # none where ScaNN needs int8 only
            self._state.dataset = self.vectors  # the same values: else this process and the SavedModel hold them twice
        self._ops = scann_ops

    def efforts(self) -> list[list[Effort]]:
        """What is worth trying: rows by rising parts searched, each by rising reordering."""
        if not self._num_leaves:
            return [[self.effort]]
        return [
            [Effort(part, times * TUNED_K // 2) for times in (2, 3, 4, 6, 8, 16, 32)]
            for part in grid(1, self._num_leaves)
        ]

    def __call__(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best that ScaNN finds."""
        return self.search(queries, k, self.effort.num_searched, self.effort.num_reordered)

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: int | tf.Tensor, num_reordered: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The same with a given effort, of the kind that the index has."""
        scores, positions = self._found(queries, k, num_searched, num_reordered)
        return fill_short_rows(self.vectors, queries, k, scores, positions, is_found=tf.math.is_finite(scores))

    def candidates(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: int | tf.Tensor, num_reordered: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What the searched leaves hold: scores, positions and whether there is one, each [batch, k]."""
        scores, positions = self._found(queries, k, num_searched, num_reordered)
        missing = [[0, 0], [0, k - tf.shape(scores)[1]]]
        scores = tf.pad(scores, missing, constant_values=float("nan"))
        return scores, tf.pad(positions, missing), tf.math.is_finite(scores)

    def _found(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: int | tf.Tensor, num_reordered: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions, up to k columns; the score is NaN where a row of a batch has fewer results."""
        if not self._num_leaves:
            return self._by_scann(queries, k)
        leaves = work_for_k(num_searched, k, at_least=1, limit=self._num_leaves)
        reordered = work_for_k(num_reordered, k, at_least=k, limit=self.vectors.shape[0])
        return self._by_leaves(queries, k, reordered, leaves)

    def _by_leaves(
        self, queries: tf.Tensor, k: tf.Tensor, reordered: tf.Tensor, leaves: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self._by_scann(queries, k, reordered, leaves)

    def _by_scann(self, queries: tf.Tensor, *options: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Options: results, candidates reordered, leaves searched."""
        searcher = self._searcher()

        def one() -> tuple[tf.Tensor, tf.Tensor]:
            positions, scores = searcher.search(tf.gather(queries, 0), *options)
            return scores[tf.newaxis], positions[tf.newaxis]

        def many() -> tuple[tf.Tensor, tf.Tensor]:
            positions, scores = searcher.search_batched(queries, *options)
            return scores, positions

        # The operation for a batch takes a tenth longer for one query.
        return tf.cond(tf.shape(queries)[0] == 1, one, many)

    def _searcher(self) -> Any:
        """ScaNN's `searcher_from_module`, by a name."""
        state = self._state
        handle = self._ops.tensors_to_scann(
            state.dataset,
            state.scann_config,
            state.serialized_partitioner,
            state.datapoint_to_token,
            state.ah_codebook,
            state.hashed_dataset,
            state.int8_dataset,
            state.int8_multipliers,
            state.dp_norms,
            shared_name=self._searcher_name,
        )
        return self._ops.ScannSearcher(handle)


def scann_leaves(num_items: int) -> int:
    """Partitions by the rule of ScaNN's documentation, sqrt(items), where it does not advise brute force (0).

    It has none below 100,000 items; of trained vectors, 31,100 of them answer 2.8 times as many queries with them.
    """
    return round(math.sqrt(num_items)) if num_items >= BRUTE_FORCE_BELOW else 0


def starting_effort(num_items: int) -> Effort:
    """Brute force below 20,000 items, else a tenth of the partitions, hashing and reordering."""
    num_leaves = scann_leaves(num_items)
    return Effort(round(num_leaves * _LEAVES_SEARCHED), _REORDERED) if num_leaves else Effort(0, 0)
