"""The examples of a dataset by one pandas script, all in memory: what Beam's way is measured beside, and tested against.

Written from the definition of the splits, not from the transforms: columns instead of users' logs, sorted keys and binary search
instead of loops. It knows no dead letters, counts, snapshot or health of labels, and takes clean Parquet tables, so that it
does less than Beam does.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import tensorflow as tf
from tfx_bsl.coders import example_coder

from schemas import tables
from tfx_pipeline.examples.config import MICROSECONDS
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY
from tfx_pipeline.examples.config import ExamplesConfig

Columns = dict[str, pa.Array]
Splits = dict[str, list[bytes]]
_CONTEXT = ["surface", "subject_item_id", "query"]
_COUNTED = {
    tables.CLICK: "user_num_clicks",
    tables.SAVE: "user_num_saves",
    tables.ADD_TO_CART: "user_num_add_to_carts",
    tables.PURCHASE: "user_num_purchases",
}
_PRIOR_IMPRESSIONS = 20.0


def write_examples(dataset: Path, out: Path, config: ExamplesConfig) -> None:
    """Writes each split as one gzipped TFRecord file, its rows in an order of chance."""
    rng = np.random.default_rng(1)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for split, rows in make_examples(dataset, config).items():
        with tf.io.TFRecordWriter(str(out / f"{split}.gz"), options) as writer:
            for place in rng.permutation(len(rows)):
                writer.write(rows[place])


def make_examples(dataset: Path, config: ExamplesConfig) -> Splits:
    """Serialized tf.Examples by split."""
    raw = _read(dataset / tables.EVENTS)
    items = _read(dataset / tables.ITEMS).set_index("item_id")
    users = _read(dataset / tables.USERS).set_index("user_id")
    cut_us = config.cut_us(int(raw["timestamp"].max()))
    events = _with_durations(_in_order(raw.drop_duplicates()), config)
    actions = _Actions(events[events["event"] != tables.IMPRESSION], users, config)
    positives = _positives(events, cut_us, config)
    unengaged = _unengaged(events, cut_us, config)
    parts = _ItemParts(raw, items, positives, unengaged, config)
    found = _positive_rows(positives, actions, parts)
    is_train = (positives["split"] == "train").to_numpy()
    return {
        "train": [row for row, is_its in zip(found, is_train, strict=True) if is_its],
        "eval": [row for row, is_its in zip(found, is_train, strict=True) if not is_its],
        "impressions": parts.as_of(unengaged["item_id"], unengaged["timestamp"] // MICROSECONDS_PER_DAY),
        "catalog": parts.as_of(items.index, np.full(len(items), cut_us // MICROSECONDS_PER_DAY)),
        "queries": _queries(actions, cut_us),
    }


def _read(folder: Path) -> pd.DataFrame:
    return pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pandas()


def _in_order(events: pd.DataFrame) -> pd.DataFrame:
    for name in ("user_id", "item_id", "event"):
        events[name] = pd.Categorical(events[name], categories=np.sort(events[name].unique()), ordered=True)
    return events.sort_values(["user_id", "timestamp", "item_id", "event"], kind="stable", ignore_index=True)


def _with_durations(events: pd.DataFrame, config: ExamplesConfig) -> pd.DataFrame:
    """A missing duration of a click is the gap to the user's next later event of the session, capped."""
    moments, users = events["timestamp"].to_numpy(), events["user_id"].cat.codes.to_numpy()
    key = _moment_key(users, moments, since_us=moments.min())
    later = np.searchsorted(key, key, side="right")
    following = np.minimum(later, len(events) - 1)
    is_same = (later < len(events)) & (users[following] == users)
    gap = np.where(is_same, moments[following] - moments, np.iinfo(np.int64).max)
    filled = np.minimum(gap / MICROSECONDS, config.max_click_duration_s)
    fills = (events["event"] == tables.CLICK) & events["click_duration_s"].isna()
    fills &= gap <= int(config.session_gap_min * 60 * MICROSECONDS)
    return events.assign(click_duration_s=events["click_duration_s"].where(~fills, filled))


def _moment_key(users: np.ndarray, moments: np.ndarray, *, since_us: int) -> np.ndarray:
    """One int64 that orders by user, then by moment: of half a million users, and of 203 days of microseconds."""
    return (users.astype(np.int64) << 44) + (moments - since_us)


class _Actions:
    """Clicks, saves and conversions in order of user and time, and features of any (user, moment)."""

    def __init__(self, actions: pd.DataFrame, users: pd.DataFrame, config: ExamplesConfig) -> None:
        self.rows = actions
        self.codes = actions["user_id"].cat.codes.to_numpy()
        self.moments = actions["timestamp"].to_numpy()
        self.names = actions["user_id"].cat.categories
        self._since_us = self.moments.min()
        self._key = _moment_key(self.codes, self.moments, since_us=self._since_us)
        self._users = users.reindex(self.names)
        self._length = config.history_length
        self._items = pa.array(actions["item_id"].astype(str))
        self._events = pa.array(actions["event"].astype(str))
        is_first = ~actions.duplicated(["user_id", "item_id"])
        counted = {name: actions["event"] == event for event, name in _COUNTED.items()}
        marks = {**counted, "user_num_distinct_items": is_first}
        self._cumulative = {name: np.concatenate([[0], np.cumsum(mark)]) for name, mark in marks.items()}

    def encoded(self, codes: np.ndarray, moments: np.ndarray) -> list[bytes]:
        """The part of a row that only the user and the moment decide."""
        start = np.searchsorted(self.codes, codes)
        end = np.searchsorted(self._key, _moment_key(codes, moments, since_us=self._since_us))
        numbers = {name: sums[end] - sums[start] for name, sums in self._cumulative.items()}
        since = np.where(end > start, moments - self.moments[np.maximum(end, 1) - 1], np.nan) / MICROSECONDS_PER_DAY
        of_users = self._users.iloc[codes]
        lengths = np.minimum(end - start, self._length)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(end - 1 + offsets[:-1], lengths) - np.arange(offsets[-1])  # the latest first
        ages = (np.repeat(moments, lengths) - self.moments[places]) / MICROSECONDS_PER_DAY
        return _encode(
            {
                "user_id": _alone(pa.array(self.names[codes])),
                **{name: _alone(pa.array(of_users[name])) for name in of_users},
                **{name: _alone(pa.array(values.astype(np.float32))) for name, values in numbers.items()},
                "user_days_since_last_event": _alone(pa.array(since.astype(np.float32), from_pandas=True)),
                "history_item_id": pa.ListArray.from_arrays(offsets, self._items.take(pa.array(places))),
                "history_event": pa.ListArray.from_arrays(offsets, self._events.take(pa.array(places))),
                "history_age_days": pa.ListArray.from_arrays(offsets, pa.array(ages.astype(np.float32))),
            }
        )


def _positives(events: pd.DataFrame, cut_us: int, config: ExamplesConfig) -> pd.DataFrame:
    """Engagements and conversions with moment and context of their touch, whether repeated, and their split."""
    engagements = events[events["event"].isin(tables.ENGAGEMENTS)]
    conversions = events[events["event"].isin(tables.CONVERSIONS)].sort_values("timestamp", kind="stable")
    own = {name: conversions[name] for name in ("timestamp", *_CONTEXT)}
    views = events[events["event"] == tables.IMPRESSION]
    for touches, days in ((views, config.view_window_days), (engagements, config.click_window_days)):
        found = _last(conversions, touches, days=days)
        own = {name: found[name].where(found["touch_us"].notna(), values) for name, values in own.items()}
    engagements = engagements.assign(moment_us=engagements["timestamp"])
    moments = own.pop("timestamp").astype(np.int64)
    joined = pd.concat([engagements, conversions.assign(moment_us=moments, **own)])
    is_conversion = joined["event"].isin(tables.CONVERSIONS)
    first = conversions.groupby(["user_id", "item_id"], observed=True)["timestamp"].min().rename("first_us")
    joined = joined.join(first, on=["user_id", "item_id"])
    split = np.where(joined["moment_us"] >= cut_us, "eval", np.where(joined["timestamp"] >= cut_us, "", "train"))
    joined = joined.assign(
        split=split,
        task=np.where(is_conversion, "conversion", "engagement"),
        is_repeat=(joined["first_us"] < joined["moment_us"]).astype(np.int64),
        value=joined["value"].where(is_conversion),
    )
    return joined[joined["split"] != ""].sort_values(["user_id", "moment_us"], kind="stable")


def _last(conversions: pd.DataFrame, touches: pd.DataFrame, *, days: float) -> pd.DataFrame:
    """By conversion, the last touch of its item within so many days, or missing values."""
    keys, window_us = ["user_id", "item_id"], int(days * MICROSECONDS_PER_DAY)
    given = conversions[["timestamp", *keys]]
    ordered = touches[["timestamp", *keys, *_CONTEXT]].sort_values("timestamp", kind="stable")
    ordered = ordered.assign(touch_us=ordered["timestamp"])
    found = pd.merge_asof(given, ordered, on="timestamp", by=keys, tolerance=window_us).set_index(given.index)
    return found.assign(timestamp=found["touch_us"])


def _unengaged(events: pd.DataFrame, cut_us: int, config: ExamplesConfig) -> pd.DataFrame:
    """Impressions before the cut that no action of the user on the item followed in time."""
    known = events[events["timestamp"] < cut_us].sort_values("timestamp", kind="stable")
    is_shown = known["event"] == tables.IMPRESSION
    columns = ["timestamp", "user_id", "item_id"]
    acted = known.loc[~is_shown, columns].assign(is_followed=True)
    shown = known.loc[is_shown, columns]
    window_us = int(config.engagement_window_hours * MICROSECONDS_PER_DAY / 24)
    followed = pd.merge_asof(shown, acted, on="timestamp", by=columns[1:], direction="forward", tolerance=window_us)
    return shown[followed["is_followed"].isna().to_numpy()]


def _positive_rows(positives: pd.DataFrame, actions: _Actions, parts: "_ItemParts") -> list[bytes]:
    """Rows of one user and moment share one encoded history."""
    codes, moments = positives["user_id"].cat.codes.to_numpy(), positives["moment_us"].to_numpy()
    is_new = np.concatenate([[True], (codes[1:] != codes[:-1]) | (moments[1:] != moments[:-1])])[: len(codes)]
    histories = actions.encoded(codes[is_new], moments[is_new])
    own = _encode(
        {
            **{name: _alone(pa.array(positives[name])) for name in ("subject_item_id", "query")},
            "surface": _alone(pa.array(positives["surface"].fillna(tables.SURFACE_UNKNOWN))),
            **_time_columns(moments),
            "timestamp_us": _alone(pa.array(moments)),
            "task": _alone(pa.array(positives["task"])),
            "event": _alone(pa.array(positives["event"].astype(str))),
            "is_repeat": _alone(pa.array(positives["is_repeat"])),
            **{
                name: _alone(pa.array(positives[name].astype(np.float32), from_pandas=True))
                for name in ("click_duration_s", "value")
            },
        }
    )
    items = parts.as_of(positives["item_id"], moments // MICROSECONDS_PER_DAY)
    shared = (histories[place] for place in np.cumsum(is_new) - 1)
    return [b"".join(row) for row in zip(shared, own, items, strict=True)]


def _queries(actions: _Actions, cut_us: int) -> list[bytes]:
    """One row for each user who converted at or after the cut."""
    converted = actions.rows[actions.rows["event"].isin(tables.CONVERSIONS)]
    is_later = converted["timestamp"] >= cut_us
    later, known = (
        converted[mask].groupby("user_id", observed=True)["item_id"].agg(lambda ids: sorted(set(ids)))
        for mask in (is_later, ~is_later)
    )
    codes = actions.names.get_indexer(later.index)
    moments = np.full(len(codes), cut_us)
    lists = {"target_item_ids": later, "known_item_ids": known.reindex(later.index)}
    own = _encode(
        {
            "timestamp_us": _alone(pa.array(moments)),
            "surface": _alone(pa.array([tables.SURFACE_UNKNOWN] * len(codes))),
            **_time_columns(moments),
            **{name: pa.array(values, pa.list_(pa.string()), from_pandas=True) for name, values in lists.items()},
        }
    )
    return [first + second for first, second in zip(actions.encoded(codes, moments), own, strict=True)]


class _ItemParts:
    """The item part of rows: encoded once for each item and day that occur."""

    def __init__(
        self,
        raw: pd.DataFrame,
        items: pd.DataFrame,
        positives: pd.DataFrame,
        unengaged: pd.DataFrame,
        config: ExamplesConfig,
    ) -> None:
        self._items = items
        self._window_days = config.performance_window_days
        days = (raw["timestamp"] // MICROSECONDS_PER_DAY).to_numpy()
        self._first_day = int(days.min()) - self._window_days
        kinds = raw["event"].map(_kind_of_event).to_numpy()
        codes = items.index.get_indexer(raw["item_id"])
        shape = (3, len(items) + 1, int(days.max()) - self._first_day + 2)
        volumes = np.zeros(shape, np.int32)  # [kind, item and, at the end, strangers, day]
        np.add.at(volumes, (kinds, codes, days - self._first_day + 1), 1)
        self._cumulative = np.cumsum(volumes, axis=2)
        self._of_market = self._cumulative.sum(axis=1)
        train = positives.loc[positives["split"] == "train", "item_id"]
        self._rates = {
            name: np.bincount(found[found >= 0], minlength=len(items)) / max(1, (found >= 0).sum())
            for name, found in (
                ("positive_rate", items.index.get_indexer(train)),
                ("impression_rate", items.index.get_indexer(unengaged["item_id"])),
            )
        }

    def as_of(self, item_ids: Iterable[str], days: Any) -> list[bytes]:
        """Attributes, sampling rates and performance on the days before; items are of the catalogue."""
        codes = self._items.index.get_indexer(item_ids)
        pairs, places = np.unique(codes.astype(np.int64) << 32 | np.asarray(days), return_inverse=True)
        encoded = self._encoded(pairs >> 32, pairs & 0xFFFFFFFF)
        return [encoded[place] for place in places]

    def _encoded(self, codes: np.ndarray, days: np.ndarray) -> list[bytes]:
        rows = self._items.iloc[codes]
        end = days - self._first_day
        start = np.maximum(end - self._window_days, 0)
        shown, engaged, converted = self._cumulative[:, codes, end] - self._cumulative[:, codes, start]
        all_shown, all_engaged, all_converted = self._of_market[:, end] - self._of_market[:, start]
        num_items = max(1, len(self._items))
        prior = _PRIOR_IMPRESSIONS * all_engaged / np.maximum(all_shown, 1)
        rate = np.where(all_shown > 0, (engaged + prior) / (shown + _PRIOR_IMPRESSIONS), np.nan)
        numbers = {
            "price": rows["price"].to_numpy(),
            **{name: values[codes] for name, values in self._rates.items()},
            "item_conversion_index": np.log((converted + 1.0) / (all_converted / num_items + 1.0)),
            "item_engagement_index": np.log((engaged + 1.0) / (all_engaged / num_items + 1.0)),
            "item_click_rate": rate,
        }
        vectors = np.stack(rows["embedding"].to_numpy()).astype(np.float32)
        offsets = np.arange(len(rows) + 1) * vectors.shape[1]
        return _encode(
            {
                "item_id": _alone(pa.array(rows.index)),
                **{name: _alone(pa.array(rows[name])) for name in ("advertiser_id", "category", "title")},
                **{
                    name: _alone(pa.array(values.astype(np.float32), from_pandas=True))
                    for name, values in numbers.items()
                },
                "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            }
        )


def _kind_of_event(event: str) -> int:
    return 0 if event == tables.IMPRESSION else 1 if event in tables.ENGAGEMENTS else 2


def _time_columns(moments: np.ndarray) -> Columns:
    when = pd.Series(pd.to_datetime(moments, unit="us"))
    hours, weekdays = when.dt.hour.astype(str), (when.dt.weekday + 1).astype(str)
    return {"hour": _alone(pa.array(hours)), "weekday": _alone(pa.array(weekdays))}


def _alone(values: pa.Array) -> pa.Array:
    """One value a row as a list of it; a missing one as an empty list."""
    is_there = values.is_valid().to_numpy(zero_copy_only=False)
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(is_there)]).astype(np.int32), values.drop_null())


def _encode(columns: Columns) -> list[bytes]:
    columns = {
        name: column.cast(pa.list_(pa.binary())) if pa.types.is_string(column.type.value_type) else column
        for name, column in columns.items()
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    return example_coder.RecordBatchToExamplesEncoder().encode(batch)
