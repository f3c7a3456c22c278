"""CleanEvents, CleanItems, CleanUsers: from raw rows to typed rows and dead letters with a reason."""

import json
from collections.abc import Iterator
from itertools import compress
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd

from schemas import tables
from schemas.features import Feature
from tfx_pipeline import strict_json
from tfx_pipeline.examples.config import MICROSECONDS
from tfx_pipeline.examples.config import MICROSECONDS_PER_DAY

DEAD_LETTERS = "dead_letters"
COUNTS = "counts"
_EARLIEST_US = 631_152_000 * MICROSECONDS  # 1990-01-01: earlier values are seconds or milliseconds by mistake
_CLOCK_SKEW_US = MICROSECONDS_PER_DAY
_LARGEST = float(np.finfo(np.float32).max)  # examples hold float32

REMEDIES = {
    "missing_id": "user_id and item_id must not be empty",
    "id_too_long": "shorten the id or raise examples.max_id_length",
    "unparsable_timestamp": "timestamp must be an integer, microseconds since 1970 UTC",
    "timestamp_before_1990": "timestamp must be in microseconds: are these seconds or milliseconds?",
    "future_timestamp": "timestamp is more than a day after now: check the unit and the clock",
    "unknown_event": f"event must be one of {', '.join(tables.EVENT_TYPES)}",
    "negative_duration": "click_duration_s must be >= 0 seconds",
    "invalid_duration": "click_duration_s must be a finite number",
    "negative_value": "value must be >= 0",
    "invalid_value": "value must be a finite number",
    "duplicate_item": "each item_id must occur once in items; one row of it is kept",
    "item_not_in_catalogue": "the event's item_id is not in the items table: add the item",
}


def dead_letter(table: str, reason: str, place: str, row: Any) -> str:
    """One JSON line: what was set aside, why, from where and what to do."""
    return strict_json.dumps(
        {"table": table, "reason": reason, "remedy": REMEDIES.get(reason, ""), "place": place, "row": row},
        as_text=True,
        default=str,
        ensure_ascii=False,
    )


class _CleanTable(beam.PTransform):
    """Shared shape: rows on the main output, dead letters and counts beside them."""

    def __init__(self, do_fn: beam.DoFn) -> None:
        super().__init__()
        self._do_fn = do_fn

    def expand(self, frames: beam.PCollection) -> Any:
        return frames | "Clean" >> beam.ParDo(self._do_fn).with_outputs(DEAD_LETTERS, COUNTS, main="rows")


class CleanEvents(_CleanTable):
    """`(place, frame)` -> `rows`, `dead_letters` JSON lines, `counts` (name, number).

    One element of `rows` is the list of a frame's `(user_id, Event as a tuple)`.

    Args:
        carried: features of the schema that are copied from a column of the events.
        now_us: wall clock, microseconds; later rows are dead letters.
        max_id_length: longer ids are dead letters, characters.
    """

    def __init__(self, carried: tuple[Feature, ...], *, now_us: int, max_id_length: int) -> None:
        super().__init__(_CleanEventsFn(carried, now_us, max_id_length))


class CleanItems(_CleanTable):
    """`(place, frame)` -> rows `(item_id, attributes)`; an attribute that is no finite number is dropped, counted."""

    def __init__(self, carried: tuple[Feature, ...], *, max_id_length: int) -> None:
        super().__init__(CleanEntitiesFn(tables.ITEMS, "item_id", carried, max_id_length))


class CleanUsers(_CleanTable):
    """`(place, frame)` -> rows `(user_id, attributes)`."""

    def __init__(self, carried: tuple[Feature, ...], *, max_id_length: int) -> None:
        super().__init__(CleanEntitiesFn(tables.USERS, "user_id", carried, max_id_length))


class _CleanEventsFn(beam.DoFn):
    def __init__(self, carried: tuple[Feature, ...], now_us: int, max_id_length: int) -> None:
        self._carried = carried
        self._now_us = now_us
        self._max_id_length = max_id_length

    def process(self, element: tuple[str, pd.DataFrame]) -> Iterator[Any]:
        """Checks the whole frame at once; Python touches each row only to list it."""
        place, frame = element
        typed = _typed_events(frame)
        reasons = _event_reasons(frame, typed, self._now_us, self._max_id_length)
        yield beam.pvalue.TaggedOutput(COUNTS, ("events.rows", len(frame)))
        for index in np.flatnonzero(reasons != ""):
            yield beam.pvalue.TaggedOutput(
                DEAD_LETTERS, dead_letter(tables.EVENTS, reasons[index], place, frame.iloc[index].to_dict())
            )
        yield from _column_counts(tables.EVENTS, frame, self._carried)
        good = reasons == ""
        moments = typed["timestamp"][good].astype(np.int64)
        columns = [*(typed[name][good] for name in ("user_id", "item_id", "event")), moments.tolist()]
        numbers = [_none_for_nan(typed[name][good]) for name in ("click_duration_s", "value")]
        attributes = [(feature, _attribute_values(frame, feature)) for feature in self._carried]
        yield from _dropped_values(tables.EVENTS, attributes)
        contexts = compress(_contexts(attributes, len(frame)), good)
        users, *fields = (list(column) for column in (*columns, *numbers, typed["request_id"][good], contexts))
        yield list(zip(users, zip(*fields, strict=True), strict=True))


class CleanEntitiesFn(beam.DoFn):
    """What CleanItems and CleanUsers run, also without Beam.

    Args:
        table: `items` or `users`.
        key: column of the id.
        carried: features of the schema that are copied from a column.
        max_id_length: longer ids are dead letters, characters.
    """

    def __init__(self, table: str, key: str, carried: tuple[Feature, ...], max_id_length: int) -> None:
        self._table = table
        self._key = key
        self._carried = carried
        self._max_id_length = max_id_length

    def process(self, element: tuple[str, pd.DataFrame]) -> Iterator[Any]:
        """Emits one row per entity; a bad id is a dead letter, a bad attribute is dropped and counted."""
        place, frame = element
        ids = _strings(frame, self._key)
        reasons = np.where(ids == "", "missing_id", "").astype(object)
        reasons[_lengths(ids) > self._max_id_length] = "id_too_long"
        yield beam.pvalue.TaggedOutput(COUNTS, (f"{self._table}.rows", len(frame)))
        columns = [(feature, _attribute_values(frame, feature)) for feature in self._carried]
        yield from _column_counts(self._table, frame, self._carried)
        yield from _dropped_values(self._table, columns)
        for index, reason in enumerate(reasons):
            if reason:
                row = frame.iloc[index].to_dict()
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letter(self._table, reason, place, row))
                continue
            yield (
                ids[index],
                {feature.name: values[index] for feature, (values, _) in columns if values[index] is not None},
            )


def _column_counts(table: str, frame: pd.DataFrame, carried: tuple[Feature, ...]) -> Iterator[Any]:
    """Rows of each column that neither the contract nor the schema declares."""
    for name in sorted(set(frame.columns) - set(tables.TABLES[table]) - {feature.name for feature in carried}):
        yield beam.pvalue.TaggedOutput(COUNTS, (f"{table}.ignored_column.{name}", len(frame)))


def _dropped_values(table: str, columns: list[tuple[Feature, tuple[list[Any], int]]]) -> Iterator[Any]:
    for feature, (_, num_bad) in columns:
        if num_bad:
            yield beam.pvalue.TaggedOutput(COUNTS, (f"{table}.value_dropped.{feature.name}", num_bad))


def _typed_events(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    typed = {name: _strings(frame, name) for name in ("user_id", "item_id", "event", "request_id")}
    typed["timestamp"] = _integers(frame["timestamp"])
    for name in ("click_duration_s", "value"):
        typed[name] = _floats(frame, name)
    return typed


def _event_reasons(frame: pd.DataFrame, typed: dict[str, np.ndarray], now_us: int, max_id_length: int) -> np.ndarray:
    """The first reason that applies to each row, or an empty string."""
    moment = typed["timestamp"]
    checks: list[tuple[str, np.ndarray]] = [
        ("missing_id", (typed["user_id"] == "") | (typed["item_id"] == "")),
        ("id_too_long", (_lengths(typed["user_id"]) > max_id_length) | (_lengths(typed["item_id"]) > max_id_length)),
        ("unknown_event", ~np.isin(typed["event"], tables.EVENT_TYPES)),
        ("unparsable_timestamp", np.isnan(moment)),
        ("timestamp_before_1990", moment < _EARLIEST_US),
        ("future_timestamp", moment > now_us + _CLOCK_SKEW_US),
    ]
    for name, word in (("click_duration_s", "duration"), ("value", "value")):
        checks.append((f"negative_{word}", typed[name] < 0))
        checks.append((f"invalid_{word}", _is_bad_number(frame, name, typed[name])))
    return np.select([mask for _, mask in checks], [reason for reason, _ in checks], default="").astype(object)


def _strings(frame: pd.DataFrame, name: str) -> np.ndarray:
    if name not in frame.columns:
        return np.full(len(frame), "", dtype=object)
    return np.array([_text(value) for value in frame[name]], dtype=object)


def _text(value: Any) -> str:
    """A whole number loses the fraction that its column gave it; NaN names nothing."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _integers(column: pd.Series) -> np.ndarray:
    """Whole numbers as float64 (exact below 2**53), NaN where unparsable."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values) & (values == np.floor(values)), values, np.nan)


def _floats(frame: pd.DataFrame, name: str) -> np.ndarray:
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.abs(values) > _LARGEST, np.nan, values)


def _is_bad_number(frame: pd.DataFrame, name: str, values: np.ndarray) -> np.ndarray:
    """Where something is written that is no finite number; a None (and NaN of a float column) is only missing."""
    if name not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    column = frame[name]
    is_written = column.map(lambda value: value is not None) if column.dtype == object else column.notna()
    return np.isnan(values) & is_written.to_numpy(dtype=bool)


def _attribute_values(frame: pd.DataFrame, feature: Feature) -> tuple[list[Any], int]:
    """Values by row, None where missing, and how many were no finite number."""
    if feature.treatment == "vector":
        return _vectors(frame, feature)
    if feature.is_string:
        return [value or None for value in _strings(frame, feature.name)], 0
    if feature.role == "filter" and feature.name in frame.columns:
        frame = frame.assign(**{feature.name: frame[feature.name].map(_number_of_word)})
    values = _floats(frame, feature.name)
    bad = _is_bad_number(frame, feature.name, values)
    if feature.name == "price":
        bad |= values < 0
    return _none_for_nan(np.where(bad, np.nan, values)), int(bad.sum())


def _number_of_word(value: Any) -> Any:
    """CSV and JSON lines may say true and false as words."""
    return {"true": 1.0, "false": 0.0}.get(value.strip().lower(), value) if isinstance(value, str) else value


def _vectors(frame: pd.DataFrame, feature: Feature) -> tuple[list[Any], int]:
    if feature.name not in frame.columns:
        return [None] * len(frame), 0
    written = [None if isinstance(value, float) else value for value in frame[feature.name]]
    vectors = [None if value is None else _vector(value, length=feature.length) for value in written]
    return vectors, sum(value is not None and vector is None for value, vector in zip(written, vectors, strict=True))


def _vector(value: Any, *, length: int) -> list[float] | None:
    """None where it is no list of `length` finite numbers; CSV holds a vector as a JSON list."""
    try:
        vector = np.asarray(json.loads(value) if isinstance(value, str) else value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if vector.shape != (length,) or not (np.abs(vector) <= _LARGEST).all():
        return None
    return vector.tolist()


def _contexts(columns: list[tuple[Feature, tuple[list[Any], int]]], num_rows: int) -> list[tuple]:
    """Hashable, for events are compared to find duplicates."""
    contexts: list[list] = [[] for _ in range(num_rows)]
    for feature, (values, _) in columns:
        for context, value in zip(contexts, values, strict=True):
            if value is not None:
                context.append((feature.name, tuple(value) if isinstance(value, list) else value))
    return [tuple(context) for context in contexts]


def _none_for_nan(values: np.ndarray) -> list[float | None]:
    return [None if value != value else float(value) for value in values]


def _lengths(values: np.ndarray) -> np.ndarray:
    return np.fromiter((len(value) for value in values), dtype=np.int64, count=len(values))
