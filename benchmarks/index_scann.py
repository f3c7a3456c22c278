"""ScaNN without this project: its own searcher, and the layer of TensorFlow Recommenders."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index_system import Setting
from benchmarks.index_system import System

NO_THRESHOLD = "no threshold"
LAYER_SHARES = ("0.02", "0.05", "0.1", "0.2")
"""Of the leaves that the layer visits: fixed when it is built."""
_SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
_REORDERED = (1.5, 2, 3, 6)
"""Candidates that are scored exactly, in results."""
_LAYER_REORDERED = 3
_TRAINED_ON = 250_000
_ANISOTROPIC_THRESHOLD = 0.2


def _leaves(vectors: np.ndarray) -> int:
    return round(len(vectors) ** 0.5)


class Searcher(System):
    """`scann_ops_pybind`, leaves and reordering chosen at each search; variant: `NO_THRESHOLD` or none."""

    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        super().__init__(folder, k=k, variant=variant)
        import scann

        self._builder = scann.scann_ops_pybind.builder

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """On as many leaves as the square root of the items."""
        num_leaves = _leaves(vectors)
        tree = self._builder(vectors, self.k, "dot_product").tree(
            num_leaves=num_leaves,
            num_leaves_to_search=num_leaves,
            training_sample_size=min(len(vectors), _TRAINED_ON),
        )
        threshold: dict[str, Any] = {"anisotropic_quantization_threshold": _ANISOTROPIC_THRESHOLD}
        hashed = tree.score_ah(2, **({} if self.variant == NO_THRESHOLD else threshold))
        self._searcher = hashed.reorder(round(self.k * max(_REORDERED))).build()
        self.settings = [
            {"leaves": leaves, "reordered": round(self.k * times)}
            for leaves in sorted({max(1, round(num_leaves * share)) for share in _SHARES})
            for times in _REORDERED
        ]
        return {}

    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        """By one thread."""
        if len(queries) == 1:
            return self._searcher.search(queries[0], self.k, setting["reordered"], setting["leaves"])[0][np.newaxis]
        return self._searcher.search_batched(queries, self.k, setting["reordered"], setting["leaves"])[0]


class Layer(System):
    """`tfrs.layers.factorized_top_k.ScaNN` in a tf.function; variant: share of the leaves that it visits."""

    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        super().__init__(folder, k=k, variant=variant)
        import tensorflow as tf
        import tensorflow_recommenders as tfrs

        from benchmarks import index_loop

        self._tf = tf
        self._each_alone = index_loop.each_alone
        self._layer_class = tfrs.layers.factorized_top_k.ScaNN
        tf.constant(0)  # starts TensorFlow, whose memory is not the index's

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """On as many leaves as the square root of the items."""
        num_leaves = _leaves(vectors)
        layer = self._layer_class(
            k=self.k,
            num_leaves=num_leaves,
            num_leaves_to_search=max(1, round(num_leaves * float(self.variant))),
            num_reordering_candidates=_LAYER_REORDERED * self.k,
            parallelize_batch_searches=False,
        ).index(self._tf.constant(vectors))
        spec = self._tf.TensorSpec([None, vectors.shape[1]], self._tf.float32)
        self._search = self._tf.function(layer, input_signature=[spec])
        self._each = self._each_alone(lambda queries: self._search(queries)[1])
        self._search(self._tf.constant(vectors[:1]))
        self.settings = [{"leaves": layer_leaves} for layer_leaves in [max(1, round(num_leaves * float(self.variant)))]]
        return {}

    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        """By one thread."""
        del setting  # it was built with it
        scores, positions = self._search(self._tf.constant(queries))
        scores.numpy()
        return positions.numpy()

    def search_each(self, queries: np.ndarray, setting: Setting) -> None:
        """By the layer, inside one graph."""
        del setting
        self._each(self._tf.constant(queries)).numpy()
