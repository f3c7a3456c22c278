"""Peers that run in an environment of their own (`index_peers.txt`): faiss and hnswlib, inner product, one thread."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index_system import Setting
from benchmarks.index_system import System

_MIN_LISTS = 64
_PROBED = (1, 2, 4, 8, 16, 32, 64, 128)
_CANDIDATES = (1, 1.5, 2, 3, 4, 6, 8, 12)
"""Of a graph's search, in results."""


class _Faiss(System):
    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        super().__init__(folder, k=k, variant=variant)
        import faiss

        faiss.omp_set_num_threads(1)
        self._faiss = faiss
        self._index: Any = None

    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        for name, value in setting.items():
            setattr(self._tuned(), name, value)
        return self._index.search(queries, self.k)[1]

    def _tuned(self) -> Any:
        return self._index


class Flat(_Faiss):
    """Brute force."""

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """With inner products."""
        self._index = self._faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        return {}


class Hnsw(_Faiss):
    """A graph of 32 neighbours, built as faiss does by default (efConstruction 40)."""

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """With inner products."""
        self._index = self._faiss.IndexHNSWFlat(vectors.shape[1], 32, self._faiss.METRIC_INNER_PRODUCT)
        self._index.add(vectors)
        self.settings = [{"efSearch": round(self.k * times)} for times in _CANDIDATES]
        return {}

    def _tuned(self) -> Any:
        return self._index.hnsw


class IvfFlat(_Faiss):
    """Lists of whole vectors, about as many as the square root of the items: a power of 2."""

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """With inner products."""
        num_lists = max(_MIN_LISTS, 1 << round(np.log2(len(vectors) ** 0.5)))
        quantizer = self._faiss.IndexFlatIP(vectors.shape[1])
        self._index = self._faiss.IndexIVFFlat(quantizer, vectors.shape[1], num_lists, self._faiss.METRIC_INNER_PRODUCT)
        self._index.train(vectors)
        self._index.add(vectors)
        self.settings = [{"nprobe": probed} for probed in _PROBED if probed <= num_lists]
        return {}


class Hnswlib(System):
    """A graph of 16 neighbours, built as hnswlib does by default (ef_construction 200)."""

    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        super().__init__(folder, k=k, variant=variant)
        import hnswlib

        self._index_of_dim = lambda dim: hnswlib.Index(space="ip", dim=dim)

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """With inner products."""
        self._index = self._index_of_dim(vectors.shape[1])
        self._index.init_index(max_elements=len(vectors), M=16, ef_construction=200)
        self._index.set_num_threads(1)
        self._index.add_items(vectors)
        self.settings = [{"ef": round(self.k * times)} for times in _CANDIDATES]
        return {}

    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        """With the setting's names as the library's own parameters."""
        self._index.set_ef(setting["ef"])
        return self._index.knn_query(queries, k=self.k)[0].astype(np.int64)
