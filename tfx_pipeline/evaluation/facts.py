"""What is known of each evaluation row and its item, and the slices that follow from it."""

import itertools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from schemas import contract
from schemas import tables
from tfx_pipeline.evaluation.given_slices import UNKNOWN
from tfx_pipeline.evaluation.given_slices import given_slices
from tfx_pipeline.evaluation.given_slices import thirds
from tfx_pipeline.evaluation.rows import positions
from tfx_pipeline.index.catalog import Catalog

_BATCH = 4096
_DAY_US = 86_400_000_000
_TOP_CATEGORIES = 8
_LARGE, _MEDIUM = 0.5, 0.8  # advertisers in the order of their conversions: the first half of these, up to four fifths
_LENGTHS = (0, 5, 20)
_AGES_DAYS = (7, 28, 90)


@dataclass(frozen=True)
class Facts:
    """Columns of the rows, [rows] each.

    Attributes:
        users: bytes.
        events: str.
        values: float32 >= 0, of a conversion's value; NaN where unknown.
        slices: str by name of the slice.
    """

    users: np.ndarray
    events: np.ndarray
    values: np.ndarray
    slices: dict[str, np.ndarray]


def row_facts(
    records: list[bytes], targets: np.ndarray, catalog: Catalog, first_sold_us: np.ndarray, features: tuple[str, ...]
) -> Facts:
    """Facts of serialized rows and of the items that they are about.

    Args:
        records: [rows] serialized examples of the split `eval`.
        targets: [rows] positions of their items.
        catalog: of the candidate.
        first_sold_us: [items] microseconds of the first train positive, from `first_positives`.
        features: further features of the rows to slice by.

    Raises:
        ValueError: a feature that no row has.
    """
    columns = _read(records)
    ages_days = (columns["timestamp_us"] - first_sold_us[targets]) / _DAY_US
    is_sold = catalog.positive_rates[targets] > 0
    slices = {
        "surface": columns["surface"],
        "history_length": _bands(columns["history"], _LENGTHS, names=("0", "1-5", "6-20", "21+")),
        "advertiser_size": _advertiser_sizes(catalog)[targets],
        "category": _top_categories(catalog, targets),
        "price_band": thirds(catalog.prices[targets]),
        "cold_item": np.where(is_sold, "sold before", "no train positive"),
        "item_age": np.where(
            is_sold,
            _bands(ages_days, _AGES_DAYS, names=("up to 7 days", "up to 28 days", "up to 90 days", "older")),
            "no train positive",
        ),
        **given_slices(records, features),
    }
    values = np.maximum(columns["value"], 0.0)
    return Facts(
        columns["user_id"], columns["event"], values, {name: found.astype(str) for name, found in slices.items()}
    )


def first_positives(files: list[str], catalog: Catalog) -> np.ndarray:
    """[items] int64 microseconds of each item's first train positive; far in the future for one without.

    Args:
        files: TFRecords of the split `train`.
        catalog: whose items are asked for.
    """
    first = np.full(len(catalog.item_ids), np.iinfo(np.int64).max // 2)
    spec = {"item_id": tf.io.FixedLenFeature([], tf.string), "timestamp_us": tf.io.FixedLenFeature([], tf.int64)}
    rows = tf.data.TFRecordDataset(sorted(files), "GZIP", num_parallel_reads=2).batch(_BATCH)
    for batch in rows.map(lambda batch: tf.io.parse_example(batch, spec), tf.data.AUTOTUNE).prefetch(2):
        place, is_there = positions(batch["item_id"].numpy().astype(np.bytes_), catalog)
        np.minimum.at(first, place[is_there], batch["timestamp_us"].numpy()[is_there])
    return first


def _read(records: list[bytes]) -> dict[str, np.ndarray]:
    strings = ("user_id", "event", "surface")
    spec = {
        **{name: tf.io.RaggedFeature(tf.string) for name in (*strings, contract.HISTORY_ITEM_ID)},
        "value": tf.io.FixedLenFeature([], tf.float32, default_value=float("nan")),
        "timestamp_us": tf.io.FixedLenFeature([], tf.int64, default_value=0),
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*strings, "value", "timestamp_us", "history")}
    for start in range(0, len(records), _BATCH):
        parsed = tf.io.parse_example(tf.constant(records[start : start + _BATCH]), spec)
        found["history"].append(parsed[contract.HISTORY_ITEM_ID].row_lengths().numpy())
        for name in strings:
            found[name].append(parsed[name][:, :1].to_tensor(UNKNOWN, shape=[None, 1])[:, 0].numpy().astype(np.str_))
        for name in ("value", "timestamp_us"):
            found[name].append(parsed[name].numpy())
    columns = {name: np.concatenate([np.zeros(0, _kind(parts)), *parts]) for name, parts in found.items()}
    return {**columns, "surface": np.where(columns["surface"] == UNKNOWN, tables.SURFACE_UNKNOWN, columns["surface"])}


def _kind(parts: list[np.ndarray]) -> np.dtype | type:
    return parts[0].dtype if parts else float


def _bands(numbers: np.ndarray, limits: tuple[int, ...], *, names: tuple[str, ...]) -> np.ndarray:
    """The first name whose limit is not exceeded."""
    return np.array(names)[np.searchsorted(limits, numbers, side="left")]


def _advertiser_sizes(catalog: Catalog) -> np.ndarray:
    """[items]: by conversions of the item's advertiser."""
    names, of_item = np.unique(catalog.advertisers, return_inverse=True)
    shares = np.bincount(of_item, catalog.positive_rates, minlength=len(names))
    shares[names == b""] = 0.0
    order = np.argsort(-shares, kind="stable")
    before = np.zeros(len(names))
    before[order] = np.r_[0.0, np.cumsum(shares[order])[:-1]] / max(float(shares.sum()), 1e-30)
    sizes = np.where(before < _LARGE, "large", np.where(before < _MEDIUM, "medium", "small"))
    return np.where(names == b"", UNKNOWN, sizes)[of_item]


def _top_categories(catalog: Catalog, targets: np.ndarray) -> np.ndarray:
    """[rows]: the first level, the commonest by name."""
    top = np.array([path.decode().split(" > ")[0] or UNKNOWN for path in catalog.categories[targets]], dtype=np.str_)
    names, counts = np.unique(top, return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")[:_TOP_CATEGORIES]]
    return np.where(np.isin(top, kept), top, "other")


def known_before(files: list[str], users: set[bytes], catalog: Catalog) -> dict[bytes, np.ndarray]:
    """By user, positions of what the user had converted on before the cut, of the split `queries`.

    A history is cut to its latest actions; this is not.
    """
    spec = {"user_id": tf.io.FixedLenFeature([], tf.string), "known_item_ids": tf.io.RaggedFeature(tf.string)}
    known = {}
    for batch in tf.data.TFRecordDataset(sorted(files), "GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(batch, spec)
        lists = parsed["known_item_ids"]
        place, is_there = positions(lists.values.numpy().astype(np.bytes_), catalog)
        for user, (start, end) in zip(
            parsed["user_id"].numpy(), itertools.pairwise(lists.row_splits.numpy()), strict=True
        ):
            if user in users:
                known[user] = np.unique(place[start:end][is_there[start:end]])
    return known
