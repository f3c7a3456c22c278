"""Peers that run in an environment of their own (`index_peers.txt`): faiss and hnswlib, one thread."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index_distances import items_by_distance
from benchmarks.index_distances import queries_by_distance
from benchmarks.index_system import Setting
from benchmarks.index_system import System

_MIN_LISTS = 64
_PROBED = (1, 2, 4, 8, 16, 32, 64, 128)
_CANDIDATES = (1, 1.5, 2, 3, 4, 6, 8, 12)
"""Of a graph's search, in results."""


class _ByDistance(System):
    """A peer that searches for small distances."""

    _dim: int

    def prepared(self, queries: np.ndarray) -> np.ndarray:
        """As the items were."""
        return queries_by_distance(queries, dim=self._dim)

    def _items(self, vectors: np.ndarray) -> np.ndarray:
        items = items_by_distance(vectors)
        self._dim = items.shape[1]
        return items


class _Faiss(_ByDistance):
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
        """Of inner products, which need no graph."""
        self._dim = vectors.shape[1]
        self._index = self._faiss.IndexFlatIP(self._dim)
        self._index.add(vectors)
        return {}


class Hnsw(_Faiss):
    """A graph of 32 neighbours, built as faiss does by default (efConstruction 40)."""

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """On distances."""
        items = self._items(vectors)
        self._index = self._faiss.IndexHNSWFlat(self._dim, 32)
        self._index.add(items)
        self.settings = [{"efSearch": round(self.k * times)} for times in _CANDIDATES]
        return {}

    def _tuned(self) -> Any:
        return self._index.hnsw


class IvfFlat(_Faiss):
    """Lists of whole vectors, about as many as the square root of the items: a power of 2."""

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """On distances."""
        items = self._items(vectors)
        num_lists = max(_MIN_LISTS, 1 << round(np.log2(len(items) ** 0.5)))
        self._index = self._faiss.IndexIVFFlat(self._faiss.IndexFlatL2(self._dim), self._dim, num_lists)
        self._index.train(items)
        self._index.add(items)
        self.settings = [{"nprobe": probed} for probed in _PROBED if probed <= num_lists]
        return {}


class Hnswlib(_ByDistance):
    """A graph of 16 neighbours, built as hnswlib does by default (ef_construction 200)."""

    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        super().__init__(folder, k=k, variant=variant)
        import hnswlib

        self._index_of_dim = lambda dim: hnswlib.Index(space="l2", dim=dim)

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """On distances."""
        items = self._items(vectors)
        self._index = self._index_of_dim(self._dim)
        self._index.init_index(max_elements=len(items), M=16, ef_construction=200)
        self._index.set_num_threads(1)
        self._index.add_items(items)
        self.settings = [{"ef": round(self.k * times)} for times in _CANDIDATES]
        return {}

    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        """With the setting's ef."""
        self._index.set_ef(setting["ef"])
        return self._index.knn_query(queries, k=self.k)[0].astype(np.int64)
