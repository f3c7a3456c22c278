"""Reads evaluation rows: query vectors from the towers, targets as positions in the catalogue."""

import itertools
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from schemas import tables
from tfx_pipeline.index.catalog import Catalog
from trainer.export import BONUS_ITEMS
from trainer.export import BONUSES
from trainer.export import EMBED_QUERY_EXAMPLES
from trainer.export import NO_ITEM

_BATCH = 1024


@dataclass(frozen=True)
class Queries:
    """What the query tower says of each row.

    Attributes:
        vectors: [rows, dim] float32.
        listed: per row, positions in the catalogue of the distinct items that have a bonus.
        bonuses: per row, what each of them scores beside its inner product.
    """

    vectors: np.ndarray
    listed: list[np.ndarray]
    bonuses: list[np.ndarray]


@dataclass(frozen=True)
class EvalRows:
    """Conversions of the evaluation period, one row each.

    Attributes:
        queries: of the rows.
        targets: [rows] positions in the catalogue.
        is_new: [rows] bool, the user had not converted on the item before.
        known: per row, positions of what the history says that the user had converted on.
        contexts: per row user id, surface, subject item id and query, for the oracle.
        examples: serialized rows, as many as were asked to be kept.
    """

    queries: Queries
    targets: np.ndarray
    is_new: np.ndarray
    known: list[np.ndarray]
    contexts: list[tuple[str, str, str, str]]
    examples: list[bytes]


@dataclass(frozen=True)
class UserRows:
    """Users of the evaluation period as of the cut.

    Attributes:
        queries: of the users.
        targets: per user, positions of what the user converted on afterwards.
        known: per user, positions of what the user had converted on before.
        has_history: [users] bool, whether anything is known of what the user did.
        examples: serialized rows.
    """

    queries: Queries
    targets: list[np.ndarray]
    known: list[np.ndarray]
    has_history: np.ndarray
    examples: list[bytes] = field(default_factory=list)


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
    return eval_rows(conversions(files), towers, catalog, max_rows=max_rows, seed=seed)


def eval_rows(records: list[bytes], towers: Any, catalog: Catalog, *, max_rows: int, seed: int) -> EvalRows:
    """As `read_eval_rows`, of conversions that are read already."""
    if len(records) > max_rows:
        chosen = np.random.default_rng(seed).choice(len(records), max_rows, replace=False)
        records = [records[index] for index in np.sort(chosen)]
    names = ("user_id", "surface", "subject_item_id", "query")
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in (*names, "item_id")}
    spec["is_repeat"] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    spec.update({name: tf.io.RaggedFeature(tf.string) for name in (contract.HISTORY_ITEM_ID, contract.HISTORY_EVENT)})
    items, repeats = [], []
    known: list[np.ndarray] = []
    contexts: list[tuple[str, str, str, str]] = []
    for batch in _batches(records):
        parsed = tf.io.parse_example(batch, spec)
        events, histories = parsed.pop(contract.HISTORY_EVENT), parsed.pop(contract.HISTORY_ITEM_ID)
        is_conversion = events.with_values(tf.reduce_any([events.values == e for e in tables.CONVERSIONS], axis=0))
        known.extend(_positions_of_lists(tf.ragged.boolean_mask(histories, is_conversion), catalog))
        parsed = {name: value.numpy() for name, value in parsed.items()}
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
    return EvalRows(embed_rows(records, towers, catalog), targets, is_new, known, contexts, records)


def read_user_rows(files: list[str], towers: Any, catalog: Catalog, *, max_rows: int, seed: int) -> UserRows:
    """A seeded sample of the `queries` split; targets outside the catalogue are left out."""
    records = [record for batch in _read(files) for record in batch.numpy()]
    if len(records) > max_rows:
        chosen = np.random.default_rng(seed).choice(len(records), max_rows, replace=False)
        records = [records[index] for index in np.sort(chosen)]
    found: dict[str, list[np.ndarray]] = {"target_item_ids": [], "known_item_ids": []}
    spec = {name: tf.io.RaggedFeature(tf.string) for name in (*found, contract.HISTORY_ITEM_ID)}
    lengths = [np.zeros(0, dtype=np.int64)]
    for batch in _batches(records):
        parsed = tf.io.parse_example(batch, spec)
        lengths.append(parsed.pop(contract.HISTORY_ITEM_ID).row_lengths().numpy())
        for name, lists in parsed.items():
            found[name].extend(_positions_of_lists(lists, catalog))
    targets, known = found.values()
    return UserRows(embed_rows(records, towers, catalog), targets, known, np.concatenate(lengths) > 0, records)


def positions(item_ids: np.ndarray, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Where ids stand in the catalogue, and whether they do: [n] int, [n] bool."""
    if len(item_ids) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    place = np.minimum(np.searchsorted(catalog.item_ids, item_ids), len(catalog.item_ids) - 1)
    return place, catalog.item_ids[place] == item_ids


def _positions_of_lists(lists: tf.RaggedTensor, catalog: Catalog) -> list[np.ndarray]:
    """Per row, the distinct positions of its ids; those outside the catalogue are left out."""
    place, is_there = positions(lists.values.numpy().astype(np.bytes_), catalog)
    splits = lists.row_splits.numpy()
    return [np.unique(place[start:end][is_there[start:end]]) for start, end in itertools.pairwise(splits)]


def without_gone(records: list[bytes], catalog: Catalog) -> list[bytes]:
    """The conversions whose item is still in the catalogue."""
    spec = {"item_id": tf.io.FixedLenFeature([], tf.string)}
    is_there = [
        positions(tf.io.parse_example(batch, spec)["item_id"].numpy().astype(np.bytes_), catalog)[1]
        for batch in _batches(records)
    ]
    return list(itertools.compress(records, itertools.chain.from_iterable(is_there)))


def conversions(files: list[str]) -> list[bytes]:
    """The serialized conversions of a split, without its engagements."""
    return rows_of_task(files, "conversion")


def rows_of_task(files: list[str], task: str) -> list[bytes]:
    """The serialized rows of a task, `conversion` or `engagement`."""
    spec = {"task": tf.io.FixedLenFeature([], tf.string)}
    kept: list[bytes] = []
    for batch in _read(files):
        kept.extend(tf.boolean_mask(batch, tf.io.parse_example(batch, spec)["task"] == task).numpy())
    return kept


def with_known(rows: EvalRows, users: np.ndarray, known: dict[bytes, np.ndarray]) -> EvalRows:
    """The rows with what their users had converted on before the cut, beyond the length of a history.

    Args:
        rows: of the evaluation period.
        users: [rows] ids.
        known: positions by user.
    """
    nothing = np.zeros(0, np.int64)
    joined = [np.union1d(own, known.get(user, nothing)) for own, user in zip(rows.known, users, strict=True)]
    return replace(rows, known=joined)


def _read(files: list[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(_BATCH)


def _batches(records: list[bytes]) -> list[tf.Tensor]:
    return [tf.constant(records[start : start + _BATCH]) for start in range(0, len(records), _BATCH)]


def embed_rows(records: list[bytes], towers: Any, catalog: Catalog) -> Queries:
    """What the query tower says of serialized rows; items with a bonus that the catalogue lacks are left out.

    Raises:
        ValueError: vectors that are no numbers.
    """
    embed = towers.signatures[EMBED_QUERY_EXAMPLES]
    position_of_index = catalog.position_of_index
    vectors: list[np.ndarray] = [np.zeros((0, 1), dtype=np.float32)] if not records else []
    listed, bonuses = [], []
    for batch in _batches(records):
        embedded = {name: value.numpy() for name, value in embed(examples=batch).items()}
        vectors.append(embedded[contract.OUTPUT_EMBEDDING])
        for indices, values in zip(embedded[BONUS_ITEMS], embedded[BONUSES], strict=True):
            place = position_of_index[np.where(indices < len(position_of_index), indices, NO_ITEM)]
            listed.append(place[place >= 0])
            bonuses.append(values[place >= 0])
    found = Queries(np.concatenate(vectors), listed, bonuses)
    if not all(np.isfinite(values).all() for values in (found.vectors, *bonuses)):
        # A NaN compares as no item better: it would rank first everywhere.
        raise ValueError("Query vectors must be finite: the towers diverged. Train again with a lower learning rate.")
    return found
