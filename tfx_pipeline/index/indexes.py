"""The best items by inner product: `exact` and `scann` behind one interface.

An index is a tf.Module that maps queries [batch, dim] float32 and a scalar int32 k to scores [batch, k] and positions
[batch, k] int32 in the catalogue, best first; its `vectors` [items, dim] are the catalogue's.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfx_pipeline.index.variables import shared_variable

EXACT = "exact"
SCANN = "scann"
KINDS = (EXACT, SCANN)

BRUTE_FORCE_BELOW = 20_000
PARTITION_FROM = 100_000
_LEAVES_SEARCHED = 0.1
_ANISOTROPIC_THRESHOLD = 0.2
_REORDERED_PER_RESULT = 3


@dataclass(frozen=True)
class ScannParameters:
    """How ScaNN searches; 0 switches a stage off.

    Attributes:
        num_leaves: partitions of the catalogue.
        num_leaves_searched: partitions that a query visits.
        num_reordered: candidates that are scored exactly; with 0 all scores are exact (brute force).
        dimensions_per_block: of the asymmetric hash.
    """

    num_leaves: int
    num_leaves_searched: int
    num_reordered: int
    dimensions_per_block: int = 2


def scann_parameters(num_items: int, *, max_k: int) -> ScannParameters:
    """From the catalogue's size, by the rules of ScaNN's documentation.

    Under 20,000 items brute force; under 100,000 asymmetric hashing with reordering; above that, partitions too, about
    sqrt(items) of them.
    """
    if num_items < BRUTE_FORCE_BELOW:
        return ScannParameters(0, 0, 0)
    num_reordered = min(num_items, _REORDERED_PER_RESULT * max_k)
    if num_items < PARTITION_FROM:
        return ScannParameters(0, 0, num_reordered)
    num_leaves = round(math.sqrt(num_items))
    return ScannParameters(num_leaves, max(1, round(num_leaves * _LEAVES_SEARCHED)), num_reordered)


class ExactIndex(tf.Module):
    """All inner products: the oracle of every other index, on stock TensorFlow operations.

    Not `tfrs.layers.factorized_top_k.BruteForce`, whose k is fixed at export: a request for 10 would sort 1,000.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__(name=EXACT)
        self.vectors = shared_variable(vectors, name="item_vectors")

    def __call__(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best."""
        scores, positions = tf.math.top_k(tf.matmul(queries, self.vectors, transpose_b=True), k=k)
        return scores, positions


class ScannIndex(tf.Module):
    """ScaNN: Guo et al., "Accelerating Large-Scale Inference with Anisotropic Vector Quantization", ICML 2020.

    Built by ScaNN's own builder: `tfrs.layers.factorized_top_k.ScaNN` has no argument for the anisotropic threshold.
    """

    def __init__(self, vectors: np.ndarray, *, max_k: int) -> None:
        from scann.scann_ops.py import scann_ops  # registers operations: only where an index of this kind is built

        super().__init__(name=SCANN)
        self.vectors = shared_variable(vectors, name="item_vectors")
        parameters = scann_parameters(len(vectors), max_k=max_k)
        builder = scann_ops.builder(self.vectors.read_value(), max_k, "dot_product")
        if parameters.num_leaves:
            builder = builder.tree(
                num_leaves=parameters.num_leaves,
                num_leaves_to_search=parameters.num_leaves_searched,
                training_sample_size=min(len(vectors), 250_000),
            )
        if parameters.num_reordered:
            builder = builder.score_ah(
                parameters.dimensions_per_block, anisotropic_quantization_threshold=_ANISOTROPIC_THRESHOLD
            ).reorder(parameters.num_reordered)
        else:
            builder = builder.score_brute_force()
        self._state = builder.build().serialize_to_module()
        self._state.dataset = self.vectors  # ScaNN's own are the same numbers
        self._from_module = scann_ops.searcher_from_module

    def __call__(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best that ScaNN finds."""
        searcher = self._from_module(self._state)
        positions, scores = searcher.search_batched(queries, final_num_neighbors=k)
        return scores, tf.cast(positions, tf.int32)


def build_index(kind: str, vectors: np.ndarray, *, max_k: int) -> tf.Module:
    """The index of a kind.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == EXACT:
        return ExactIndex(vectors)
    if kind == SCANN:
        return ScannIndex(vectors, max_k=max_k)
    raise ValueError(f"index.kind must be one of {KINDS}. Received: {kind!r}")


def kind_for(kind: str, num_items: int) -> str:
    """`auto` resolved: exact search where ScaNN's documentation advises brute force, else ScaNN."""
    if kind != "auto":
        return kind
    return EXACT if num_items < BRUTE_FORCE_BELOW else SCANN
