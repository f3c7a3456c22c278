"""The embedded catalogue: arrays on disk that are mapped, not read, so that it may be larger than memory."""

from dataclasses import dataclass
from dataclasses import fields
from functools import cached_property
from pathlib import Path

import numpy as np

from trainer.export import NO_ITEM

EMPTY = "The catalog split is empty: no item can be retrieved."
_BLOCK = 65_536


@dataclass(frozen=True)
class Catalog:
    """The embedded catalogue, sorted by id.

    Attributes:
        item_ids: [items] bytes, unique.
        vectors: [items, dim] float32.
        positive_rates: [items] float32, share of the train positives: popularity.
        indices: [items] int64, how the towers name the item in a history; `NO_ITEM` where they do not know it.
        advertisers: [items] bytes, empty where unknown.
        categories: [items] bytes, a path `a > b > c`, empty where unknown.
        prices: [items] float32, NaN where unknown.
        is_available: [items] bool, whether it may be retrieved.
    """

    item_ids: np.ndarray
    vectors: np.ndarray
    positive_rates: np.ndarray
    indices: np.ndarray
    advertisers: np.ndarray
    categories: np.ndarray
    prices: np.ndarray
    is_available: np.ndarray

    def __post_init__(self) -> None:
        """Refuses an empty catalogue, ids that are not unique or not sorted, and vectors that are no numbers."""
        if len(self.item_ids) == 0:
            raise ValueError(EMPTY)
        before, after = self.item_ids[:-1], self.item_ids[1:]
        if not (before < after).all():
            if repeated := np.unique(after[before == after])[:5].tolist():
                raise ValueError(f"Item ids must be unique. Received more than once: {repeated}")
            raise ValueError(
                f"Item ids must be sorted. Received: {self.item_ids[:5].tolist()}; sort the arrays by them."
            )
        blocks = (self.vectors[start : start + _BLOCK] for start in range(0, len(self.vectors), _BLOCK))
        if not all(np.isfinite(block).all() for block in blocks):
            raise ValueError(
                "Item vectors must be finite: the towers diverged. Train again with a lower learning rate."
            )

    def save(self, folder: Path) -> None:
        """Writes one array a file."""
        folder.mkdir(parents=True, exist_ok=True)
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, folder: Path) -> "Catalog":
        """Maps what `save` wrote: the arrays stay on disk until they are read, and writing to them does not change the files."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="c") for name in (field.name for field in fields(cls))))

    @cached_property
    def position_of_index(self) -> np.ndarray:
        """[indices] int32: the catalogue's position by the towers' index, -1 where the catalogue does not hold it."""
        found = np.full(int(self.indices.max()) + 1, -1, dtype=np.int32)
        found[self.indices] = np.arange(len(self.indices), dtype=np.int32)
        found[NO_ITEM] = -1
        return found
