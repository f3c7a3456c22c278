"""Embeds the catalogue with the item tower: every item of the `catalog` split exactly once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from trainer.export import EMBED_ITEM_EXAMPLES
from trainer.export import ITEM_INDEX
from trainer.export import NO_ITEM

_BATCH = 2048
_ARRAYS = (
    "item_ids",
    "vectors",
    "positive_rates",
    "indices",
    "advertisers",
    "categories",
    "prices",
    "is_available",
)
_ITEM_SPEC = {
    "item_id": tf.io.FixedLenFeature([], tf.string),
    "positive_rate": tf.io.FixedLenFeature([], tf.float32),
    "advertiser_id": tf.io.FixedLenFeature([], tf.string, ""),
    "category": tf.io.FixedLenFeature([], tf.string, ""),
    "price": tf.io.FixedLenFeature([], tf.float32, float("nan")),
    "is_available": tf.io.FixedLenFeature([], tf.float32, 1.0),
}


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
        """Refuses duplicate ids, vectors that are no numbers and an empty catalogue."""
        if len(self.item_ids) == 0:
            raise ValueError("The catalog split is empty: no item can be retrieved.")
        unique, counts = np.unique(self.item_ids, return_counts=True)
        if len(unique) != len(self.item_ids):
            raise ValueError(f"Item ids must be unique. Received more than once: {unique[counts > 1][:5].tolist()}")
        if not np.isfinite(self.vectors).all():
            raise ValueError(
                "Item vectors must be finite: the towers diverged. Train again with a lower learning rate."
            )

    def save(self, folder: Path) -> None:
        """Writes one array a file."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "Catalog":
        """Reads what `save` wrote; the vectors stay on disk until they are read."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r" if name == "vectors" else None) for name in _ARRAYS))

    @cached_property
    def position_of_index(self) -> np.ndarray:
        """[indices] int32: the catalogue's position by the towers' index, -1 where the catalogue does not hold it."""
        found = np.full(int(self.indices.max()) + 1, -1, dtype=np.int32)
        found[self.indices] = np.arange(len(self.indices))
        found[NO_ITEM] = -1
        return found


def embed_catalog(towers: Any, files: list[str]) -> Catalog:
    """Runs the item tower over raw catalogue examples.

    Args:
        towers: loaded SavedModel of the Trainer.
        files: gzipped TFRecords of the `catalog` split.

    Raises:
        ValueError: no item, an item twice, or vectors that are no numbers.
    """
    embed = towers.signatures[EMBED_ITEM_EXAMPLES]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    for records in tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(_BATCH):
        parsed = {name: values.numpy() for name, values in tf.io.parse_example(records, _ITEM_SPEC).items()}
        embedded = {name: values.numpy() for name, values in embed(examples=records).items()}
        found = {
            "item_ids": parsed["item_id"].astype(np.bytes_),
            "vectors": embedded[contract.OUTPUT_EMBEDDING],
            "positive_rates": parsed["positive_rate"],
            "indices": embedded[ITEM_INDEX],
            "advertisers": parsed["advertiser_id"].astype(np.bytes_),
            "categories": parsed["category"].astype(np.bytes_),
            "prices": parsed["price"],
            "is_available": parsed["is_available"] != 0,
        }
        for name, values in found.items():
            parts[name].append(values)
    if not parts["item_ids"]:
        raise ValueError("The catalog split is empty: no item can be retrieved.")
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(arrays["item_ids"])
    return Catalog(**{name: values[order] for name, values in arrays.items()})
