"""Reads evaluation rows: query vectors from the towers, targets as positions in the catalogue."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from schemas import tables
from tfx_pipeline.index.catalog import Catalog
from trainer.export import EMBED_QUERY_EXAMPLES

_BATCH = 1024


@dataclass(frozen=True)
class EvalRows:
    """Conversions of the evaluation period, one row each.

    Attributes:
        vectors: [rows, dim] float32.
        targets: [rows] positions in the catalogue.
        is_new: [rows] bool, the user had not converted on the item before.
        contexts: per row user id, surface, subject item id and query, for the oracle.
        examples: serialized rows, as many as were asked to be kept.
    """

    vectors: np.ndarray
    targets: np.ndarray
    is_new: np.ndarray
    contexts: list[tuple[str, str, str, str]]
    examples: list[bytes]


@dataclass(frozen=True)
class UserRows:
    """Users of the evaluation period as of the cut.

    Attributes:
        vectors: [users, dim] float32.
        targets: per user, positions of what the user converted on afterwards.
        known: per user, positions of what the user had converted on before.
    """

    vectors: np.ndarray
    targets: list[np.ndarray]
    known: list[np.ndarray]


def read_eval_rows(files: list[str], towers: Any, catalog: Catalog, *, max_rows: int, seed: int) -> EvalRows:
    """A seeded sample of the conversions in the `eval` split.

    Args:
        files: TFRecords of the split.
        towers: loaded SavedModel of the Trainer.
        catalog: where targets are looked up.
        max_rows: conversions at most.
        seed: of the sample.

    Raises:
        ValueError: a conversion on an item that the catalogue does not have, or vectors that are no numbers.
    """
    records = _conversions(files)
    if len(records) > max_rows:
        chosen = np.random.default_rng(seed).choice(len(records), max_rows, replace=False)
        records = [records[index] for index in np.sort(chosen)]
    names = ("user_id", "surface", "subject_item_id", "query")
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in (*names, "item_id")}
    spec["is_repeat"] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    items, repeats = [], []
    contexts: list[tuple[str, str, str, str]] = []
    for batch in _batches(records):
        parsed = {name: value.numpy() for name, value in tf.io.parse_example(batch, spec).items()}
        items.append(parsed["item_id"])
        repeats.append(parsed["is_repeat"])
        contexts.extend(zip(*([value.decode() for value in parsed[name]] for name in names), strict=True))
    contexts = [(user, surface or tables.SURFACE_UNKNOWN, subject, query) for user, surface, subject, query in contexts]
    bought = np.concatenate(items) if items else np.array([], dtype=np.bytes_)
    targets, is_there = positions(bought, catalog)
    if not is_there.all():
        raise ValueError(
            f"Every item of the eval split must be in the catalog split. Received: {bought[~is_there][:5].tolist()}; "
            "evaluate with the examples that the retriever was built from."
        )
    is_new = np.concatenate(repeats) == 0 if repeats else np.array([], dtype=bool)
    return EvalRows(_embed(records, towers), targets, is_new, contexts, records)


def read_user_rows(files: list[str], towers: Any, catalog: Catalog, *, max_rows: int, seed: int) -> UserRows:
    """A seeded sample of the `queries` split; targets outside the catalogue are left out."""
    records = [record for batch in _read(files) for record in batch.numpy()]
    if len(records) > max_rows:
        chosen = np.random.default_rng(seed).choice(len(records), max_rows, replace=False)
        records = [records[index] for index in np.sort(chosen)]
    spec = {name: tf.io.RaggedFeature(tf.string) for name in ("target_item_ids", "known_item_ids")}
    found: dict[str, list[np.ndarray]] = {name: [] for name in spec}
    for batch in _batches(records):
        for name, lists in tf.io.parse_example(batch, spec).items():
            for row in lists:
                place, is_there = positions(row.numpy().astype(np.bytes_), catalog)
                found[name].append(place[is_there])
    return UserRows(_embed(records, towers), found["target_item_ids"], found["known_item_ids"])


def positions(item_ids: np.ndarray, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Where ids stand in the catalogue, and whether they do: [n] int, [n] bool."""
    if len(item_ids) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    place = np.minimum(np.searchsorted(catalog.item_ids, item_ids), len(catalog.item_ids) - 1)
    return place, catalog.item_ids[place] == item_ids


def _conversions(files: list[str]) -> list[bytes]:
    spec = {"task": tf.io.FixedLenFeature([], tf.string)}
    kept: list[bytes] = []
    for batch in _read(files):
        is_conversion = tf.io.parse_example(batch, spec)["task"] == "conversion"
        kept.extend(tf.boolean_mask(batch, is_conversion).numpy())
    return kept


def _read(files: list[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(_BATCH)


def _batches(records: list[bytes]) -> list[tf.Tensor]:
    return [tf.constant(records[start : start + _BATCH]) for start in range(0, len(records), _BATCH)]


def _embed(records: list[bytes], towers: Any) -> np.ndarray:
    embed = towers.signatures[EMBED_QUERY_EXAMPLES]
    vectors = [embed(examples=batch)[contract.OUTPUT_EMBEDDING].numpy() for batch in _batches(records)]
    found = np.concatenate(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)
    if not np.isfinite(found).all():  # a NaN compares as no item better: it would rank first everywhere
        raise ValueError("Query vectors must be finite: the towers diverged. Train again with a lower learning rate.")
    return found
