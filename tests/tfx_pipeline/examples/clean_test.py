import json
from collections import Counter
from itertools import chain

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.features import Feature
from schemas.features import feature_groups
from schemas.load import load_schema
from tfx_pipeline.examples.clean import REMEDIES
from tfx_pipeline.examples.clean import CleanEvents
from tfx_pipeline.examples.clean import CleanItems
from tfx_pipeline.examples.clean import CleanUsers
from tfx_pipeline.examples.read import read_shard

NOW = 1_700_000_000_000_000
DAY_US = 86_400_000_000


def carried(name, treatment, *, table="events", length=0):
    """A feature that is copied from a raw column."""
    is_string = treatment not in ("numeric", "vector")
    role = {"events": "context", "items": "item", "users": "query"}[table]
    return Feature(name, role, treatment, is_string, False, table, name, length, False)


def clean(run, transform, frames):
    """(rows, dead letters, counts) of frames, or of shard files."""

    def graph(pipeline):
        outputs = pipeline | beam.Create([(f"shard{n}:0", frame) for n, frame in enumerate(frames)]) | transform
        return {"rows": outputs.rows, "letters": outputs.dead_letters, "counts": outputs.counts}

    found = run(graph)
    counts = Counter()
    for name, number in found["counts"]:
        counts[name] += number
    rows = list(chain.from_iterable(found["rows"])) if isinstance(transform, CleanEvents) else found["rows"]
    return rows, [json.loads(line) for line in found["letters"]], dict(counts)


def clean_events(run, frames, features=()):
    return clean(run, CleanEvents(tuple(features), now_us=NOW, max_id_length=8), frames)


def frame_of(path):
    ((_, frame),) = read_shard(str(path), "events")
    return frame


EVENT = {"user_id": "u", "item_id": "i", "event": "click", "timestamp": str(NOW), "click_duration_s": "", "value": ""}
BAD = {  # the changed fields, and the reason that they must get
    "no user": ({"user_id": ""}, "missing_id"),
    "no item": ({"item_id": ""}, "missing_id"),
    "long user": ({"user_id": "é" * 9}, "id_too_long"),
    "long item": ({"item_id": "123456789"}, "id_too_long"),
    "unknown event": ({"event": "view"}, "unknown_event"),
    "no event": ({"event": ""}, "unknown_event"),
    "date": ({"timestamp": "2023-11-14"}, "unparsable_timestamp"),
    "no timestamp": ({"timestamp": ""}, "unparsable_timestamp"),
    "half a microsecond": ({"timestamp": f"{NOW}.5"}, "unparsable_timestamp"),
    "NaN timestamp": ({"timestamp": "NaN"}, "unparsable_timestamp"),
    "infinite timestamp": ({"timestamp": "inf"}, "unparsable_timestamp"),
    "future": ({"timestamp": str(NOW + DAY_US + 1)}, "future_timestamp"),
    "nanoseconds": ({"timestamp": str(NOW * 1000)}, "future_timestamp"),
    "seconds": ({"timestamp": str(NOW // 1_000_000)}, "timestamp_before_1990"),
    "milliseconds": ({"timestamp": str(NOW // 1000)}, "timestamp_before_1990"),
    "negative timestamp": ({"timestamp": "-1"}, "timestamp_before_1990"),
    "negative duration": ({"click_duration_s": "-0.1"}, "negative_duration"),
    "NaN duration": ({"click_duration_s": "NaN"}, "invalid_duration"),
    "word duration": ({"click_duration_s": "long"}, "invalid_duration"),
    "infinite duration": ({"click_duration_s": "inf"}, "invalid_duration"),
    "negative value": ({"value": "-1"}, "negative_value"),
    "NaN value": ({"value": "nan"}, "invalid_value"),
    "value above float32": ({"value": "1e39"}, "invalid_value"),
    "two reasons": ({"user_id": "", "event": "view"}, "missing_id"),
}
GOOD = {
    "plain": {"user_id": "good1"},
    "clock skew": {"user_id": "good2", "timestamp": str(NOW + DAY_US)},
    "1990": {"user_id": "good3", "timestamp": "631152000000000"},  # date -u -d 1990-01-01 +%s
    "longest id": {"user_id": "good4678"},
    "zeros": {"user_id": "good5", "click_duration_s": "0", "value": "0"},
}


def test_every_bad_row_is_set_aside_with_its_reason_and_every_good_row_kept(tmp_path, run):
    changes = {**{name: change for name, (change, _) in BAD.items()}, **GOOD}
    rows = [{**EVENT, **change, "name": name} for name, change in changes.items()]
    pd.DataFrame(rows).to_csv(tmp_path / "events.csv", index=False)
    rows, letters, counts = clean_events(run, [frame_of(tmp_path / "events.csv")])
    expected = {name: reason for name, (_, reason) in BAD.items()}
    assert {letter["row"]["name"]: letter["reason"] for letter in letters} == expected
    assert {user for user, _ in rows} == {change["user_id"] for change in GOOD.values()}
    assert len(letters) + len(rows) == counts["events.rows"] == len(BAD) + len(GOOD)
    assert all(letter["remedy"] == REMEDIES[letter["reason"]] for letter in letters)
    assert {(letter["table"], letter["place"]) for letter in letters} == {("events", "shard0:0")}
    by_user = dict(rows)
    assert by_user["good1"] == ("i", "click", NOW, None, None, "", ())
    assert by_user["good5"][3:5] == (0.0, 0.0)


def test_parquet_nan_is_invalid_and_null_is_missing(tmp_path, run):
    def column(*values):  # from_pandas=False keeps NaN apart from null
        return pa.array(values, pa.float64(), from_pandas=False)

    nan = float("nan")
    table = pa.table(
        {
            "user_id": ["null", "nan_dur", "nan_val", "fine"],
            "item_id": ["i"] * 4,
            "event": ["click"] * 4,
            "timestamp": [NOW] * 4,
            "click_duration_s": column(None, nan, 1.0, 2.0),
            "value": column(None, None, nan, 3.0),
        }
    )
    pq.write_table(table, tmp_path / "events.parquet")
    rows, letters, _ = clean_events(run, [frame_of(tmp_path / "events.parquet")])
    assert {letter["row"]["user_id"]: letter["reason"] for letter in letters} == {
        "nan_dur": "invalid_duration",
        "nan_val": "invalid_value",
    }
    by_user = {letter["row"]["user_id"]: letter["row"] for letter in letters}
    assert by_user["nan_dur"]["click_duration_s"] == by_user["nan_val"]["value"] == "nan"  # JSON has no NaN
    assert {user: row[3:5] for user, row in rows} == {"null": (None, None), "fine": (2.0, 3.0)}


ID_COLUMNS = {
    "int": (pa.array([17850, 17851]), ["17850", "17851"]),
    "float with null": (pa.array([17850.0, None]), ["17850", None]),
    "int with null": (pa.array([17850, None]), ["17850", None]),
    "large int with null": (pa.array([2**53 + 1, None]), ["9007199254740993", None]),
    "float with NaN": (pa.array([17850.0, float("nan")], from_pandas=False), ["17850", None]),
    "small float with NaN": (pa.array([17850.0, float("nan")], pa.float32(), from_pandas=False), ["17850", None]),
    "word NaN": (pa.array(["NaN", "nan"]), ["NaN", "nan"]),
    "fractions": (pa.array([1.5, 2.0]), ["1.5", "2"]),
    "text": (pa.array(["017850", "1e5"]), ["017850", "1e5"]),
    "dictionary": (pa.array(["x", None]).dictionary_encode(), ["x", None]),
}


def test_categories_of_any_column_type_are_read_as_strings(tmp_path, run):
    columns = {name: column for name, (column, _) in ID_COLUMNS.items()}
    pq.write_table(pa.table({"item_id": ["a", "b"], **columns}), tmp_path / "items.parquet")
    ((_, frame),) = read_shard(str(tmp_path / "items.parquet"), "items")
    features = tuple(carried(name, "categorical", table="items") for name in ID_COLUMNS)
    rows, _, _ = clean(run, CleanItems(features, max_id_length=20), [frame])
    found = {name: [row.get(name) for _, row in sorted(rows)] for name in ID_COLUMNS}
    assert found == {name: expected for name, (_, expected) in ID_COLUMNS.items()}


def test_numeric_ids_of_events_and_items_are_the_same_strings(run):
    events = pd.DataFrame({"user_id": [17850.0, np.nan], "item_id": [7, 7], "event": "click", "timestamp": NOW})
    items = pd.DataFrame({"item_id": [7.0, np.nan]})
    event_rows, event_letters, _ = clean_events(run, [events])
    item_rows, item_letters, _ = clean(run, CleanItems((), max_id_length=8), [items])
    assert [(user, row[0]) for user, row in event_rows] == [("17850", "7")]
    assert item_rows == [("7", {})]
    assert [letter["reason"] for letter in event_letters + item_letters] == ["missing_id"] * 2


@pytest.mark.parametrize("is_parquet", [True, False])
def test_an_id_that_is_the_number_nan_is_missing_and_the_word_is_an_id(tmp_path, run, is_parquet):
    nan = float("nan")
    rows = [{**EVENT, "timestamp": NOW, "value": None, "user_id": user} for user in (17850.0, nan, None)]
    rows = [{**row, "click_duration_s": duration} for row, duration in zip(rows, (None, None, nan), strict=True)]
    path = tmp_path / ("events.parquet" if is_parquet else "events.jsonl")
    if is_parquet:
        columns = {name: pa.array([row[name] for row in rows], from_pandas=False) for name in EVENT}
        pq.write_table(pa.table(columns), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = tmp_path / "words.csv"
    pd.DataFrame([{**EVENT, "user_id": "NaN"}]).to_csv(words, index=False)
    found, letters, _ = clean_events(run, [frame_of(path), frame_of(words)])
    assert sorted(user for user, _ in found) == ["17850", "NaN"]
    assert [letter["reason"] for letter in letters] == ["missing_id", "missing_id"]


def test_a_price_that_is_none_is_dropped_and_counted_and_its_item_kept(run):
    prices = [1.5, -2.0, "NaN", "cheap", None, float("inf"), 0.0, 1e39]
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(8)], "price": prices, "title": ["Tee日本"] * 8})
    features = (carried("price", "numeric", table="items"), carried("title", "text", table="items"))
    rows, letters, counts = clean(run, CleanItems(features, max_id_length=8), [items])
    assert {item: row.get("price") for item, row in rows} == {
        **dict.fromkeys(("i1", "i2", "i3", "i4", "i5", "i7")),
        "i0": 1.5,
        "i6": 0.0,
    }
    assert {row["title"] for _, row in rows} == {"Tee日本"}
    assert letters == []
    # -2, NaN, cheap, inf and 1e39 are no price; None is only missing.
    assert counts == {"items.rows": 8, "items.value_dropped.price": 5}


def test_availability_may_be_a_number_or_a_word(run):
    written = ["0", "1", "false", "TRUE", "sold out", None]
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(6)], "is_available": written})
    features = (feature_groups(load_schema())["is_available"],)
    rows, _, counts = clean(run, CleanItems(features, max_id_length=9), [items])
    found = {item: row.get("is_available") for item, row in rows}
    assert found == {"i0": 0.0, "i1": 1.0, "i2": 0.0, "i3": 1.0, "i4": None, "i5": None}
    assert counts == {"items.rows": 6, "items.value_dropped.is_available": 1}


def test_only_a_price_must_not_be_negative(run):
    items = pd.DataFrame({"item_id": ["a"], "temperature": ["-4"]})
    features = (carried("temperature", "numeric", table="items"),)
    rows, _, counts = clean(run, CleanItems(features, max_id_length=8), [items])
    assert rows == [("a", {"temperature": -4.0})]
    assert counts == {"items.rows": 1}


@pytest.mark.parametrize("table", ["events", "items", "users"])
def test_undeclared_columns_are_ignored_and_counted(run, table):
    columns = {"user_id": ["u"] * 2, "own": ["1", "2"], "colour": ["r", "g"]}
    columns |= {"item_id": ["i"] * 2, "event": ["click"] * 2, "timestamp": [NOW] * 2} if table == "events" else {}
    if table == "items":
        columns["item_id"] = columns.pop("user_id")
    features = (carried("own", "numeric", table=table),)
    transform = {
        "events": CleanEvents(features, now_us=NOW, max_id_length=8),
        "items": CleanItems(features, max_id_length=8),
        "users": CleanUsers(features, max_id_length=8),
    }[table]
    rows, _, counts = clean(run, transform, [pd.DataFrame(columns)])
    assert counts == {f"{table}.rows": 2, f"{table}.ignored_column.colour": 2}
    own = [dict(row[6]) if table == "events" else row for _, row in rows]
    assert own == [{"own": 1.0}, {"own": 2.0}]


def test_declared_columns_of_events_are_carried_whatever_their_treatment(run):
    columns = {
        "user_id": list("uvw"),
        "item_id": list("iii"),
        "event": ["click"] * 3,
        "timestamp": [NOW] * 3,
        "surface": ["hôme", "", None],
        "slot": ["3", "top", None],
        "place": [[1.0, 2.0], None, [1.0]],
    }
    features = (carried("surface", "categorical"), carried("slot", "numeric"), carried("place", "vector", length=2))
    rows, letters, counts = clean_events(run, [pd.DataFrame(columns)], features)
    assert {user: row[6] for user, row in rows} == {
        "u": (("surface", "hôme"), ("slot", 3.0), ("place", (1.0, 2.0))),
        "v": (),
        "w": (),
    }
    assert letters == []
    assert counts["events.value_dropped.slot"] == 1  # `top`
    assert counts["events.value_dropped.place"] == 1  # one number where two are due


def test_vectors_are_lists_or_json_and_what_is_none_is_dropped_and_counted(run):
    good = [[1.0, 2.5], (1, 2.5), "[1, 2.5]", np.array([1, 2.5])]
    missing = [None, float("nan")]
    bad = ["1 2", "5", "[1, null]", '[1, "a"]', "[[1, 2], [3, 4]]", "[1e39, 1]", '{"a": 1}', "[1]", [1.0, 2.0, 3.0]]
    written = [*good, *missing, *bad]
    items = pd.DataFrame({"item_id": [f"i{n:02}" for n in range(len(written))]})
    items["embedding"] = pd.Series(written, dtype=object)
    features = (carried("embedding", "vector", table="items", length=2),)
    rows, letters, counts = clean(run, CleanItems(features, max_id_length=8), [items])
    assert [row.get("embedding") for _, row in sorted(rows)] == [[1.0, 2.5]] * 4 + [None] * (2 + len(bad))
    assert letters == []
    assert counts["items.value_dropped.embedding"] == len(bad)


def test_a_shard_may_lack_a_carried_column(run):
    features = tuple(
        carried(name, treatment, table="items", length=2)
        for name, treatment in (("title", "text"), ("price", "numeric"), ("embedding", "vector"))
    )
    rows, _, _ = clean(run, CleanItems(features, max_id_length=8), [pd.DataFrame({"item_id": ["a"]})])
    assert rows == [("a", {})]


def test_bad_ids_of_users_are_dead_letters(run):
    users = pd.DataFrame({"user_id": ["", "u", "123456789", None], "age": ["1", "2", "3", "4"]})
    features = (carried("age", "categorical", table="users"),)
    rows, letters, counts = clean(run, CleanUsers(features, max_id_length=8), [users])
    assert rows == [("u", {"age": "2"})]
    assert sorted((letter["reason"], letter["row"]["age"]) for letter in letters) == [
        ("id_too_long", "3"),
        ("missing_id", "1"),
        ("missing_id", "4"),
    ]
    assert counts == {"users.rows": 4}


def test_a_table_without_rows_is_fine(run):
    frame = pd.DataFrame({name: [] for name in EVENT}, dtype=object)
    assert clean_events(run, [frame], [carried("surface", "categorical")]) == ([], [], {"events.rows": 0})
