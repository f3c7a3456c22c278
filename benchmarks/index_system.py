"""What a measured system must do; imports numpy only, for the peers' environment has little else."""

from abc import ABC
from abc import abstractmethod
from pathlib import Path

import numpy as np

Setting = dict[str, int]


class System(ABC):
    """An index in the process that measures it; what it needs is imported when it is made, and nothing is built then.

    Args:
        folder: Of the arrays of `index_data`.
        k: Results a query.
        variant: How to build it; "" if it is built in one way.

    Attributes:
        settings: To search with, each a point of the curve.
    """

    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        self.folder = folder
        self.k = k
        self.variant = variant
        self.settings: list[Setting] = [{}]

    @abstractmethod
    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """Builds the index; gives those figures that it knows better than who called it: `build_s`, `peak_mb`."""

    @abstractmethod
    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        """Positions [batch, k] for queries [batch, dim] from `prepared`, by one thread."""

    def prepared(self, queries: np.ndarray) -> np.ndarray:
        """Queries as `search` takes them, once it is built: not a part of what is timed."""
        return queries

    def search_each(self, queries: np.ndarray, setting: Setting) -> None:
        """Answers each query alone, one after the other, without Python between them where a server has none."""
        for number in range(len(queries)):
            self.search(queries[number : number + 1], setting)
