import json
import math
from itertools import chain

import pandas as pd
import pytest
import tensorflow as tf

from schemas.features import SPLITS
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.label_health import bucket_of_lag
from tfx_pipeline.examples.pipeline import MarketplaceExamples

DAY_US = 86_400_000_000
START = 19_723 * DAY_US  # 2024-01-01, a Monday
CUT = "2024-01-11"
NOON = DAY_US // 2
MINUTE = 60_000_000
CONFIG = ExamplesConfig(cut=CUT)
NOW = START + 100 * DAY_US

EVENTS = [  # user, item, event, days after the start, microseconds after noon, surface, value
    ("u1", "a", "impression", 1, 0, "home", None),
    ("u1", "a", "click", 1, MINUTE, "home", None),
    ("u1", "a", "purchase", 2, 0, "checkout", 10.0),
    ("u1", "b", "impression", 3, 0, "home", None),
    ("u1", "c", "purchase", 12, 0, None, 5.0),
    ("u2", "b", "click", 8, 0, "search", None),
    ("u2", "a", "impression", 8, 1, "home", None),
    ("u2", "b", "purchase", 12, 0, None, 2.0),  # its touch is before the cut: in no split, but a target
    ("u2", "c", "click", 13, 0, "home", None),
    ("u3", "ghost", "add_to_cart", 5, 0, None, None),  # not in the catalogue
    ("", "a", "click", 4, 0, None, None),
    ("u3", "a", "view", 4, 0, None, None),
]
ITEMS = [("a", "x", 1.0), ("b", "x", 2.0), ("c", "y", None), ("d", "y", 4.0)]


def events_frame(rows=EVENTS):
    columns = ["user_id", "item_id", "event", "day", "us", "surface", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["timestamp"] = START + NOON + frame.pop("day") * DAY_US + frame.pop("us")
    return frame


def write(folder, *, events=None, items=ITEMS, users=None):
    """A dataset of one shard per table."""
    frames = {
        "events": events_frame() if events is None else events,
        "items": pd.DataFrame(items, columns=["item_id", "advertiser_id", "price"]),
        "users": users,
    }
    for table, frame in frames.items():
        if frame is not None:
            (folder / table).mkdir(parents=True)
            frame.to_csv(folder / table / "part.csv", index=False)
    return str(folder)


def decode(serialized):
    features = tf.train.Example.FromString(serialized).features.feature
    values = {name: list(getattr(f, f.WhichOneof("kind")).value) for name, f in features.items()}
    return {name: [v.decode() if isinstance(v, bytes) else v for v in found] for name, found in values.items()}


@pytest.fixture(scope="module")
def examples(run, groups):
    """Runs the transform on a dataset."""

    def examples(dataset):
        found = run(MarketplaceExamples(dataset, groups, CONFIG, now_us=NOW).expand)
        rows = {name: list(chain.from_iterable(found[name])) for name in SPLITS}
        return {**found, **rows, "counts": dict(found["counts"])}

    return examples


@pytest.fixture(scope="module")
def found(tmp_path_factory, examples):
    """What the hand-made dataset gives."""
    return examples(write(tmp_path_factory.mktemp("data")))


def test_twelve_rows_give_the_known_examples(found):
    assert found["period"] == [(START + 10 * DAY_US, START + 13 * DAY_US + NOON)]
    splits = {name: [decode(row) for row in found[name]] for name in SPLITS}

    def keys(split, *names):
        return sorted(tuple(row[name][0] for name in names) for row in splits[split])

    assert keys("train", "user_id", "item_id", "event", "timestamp_us") == [
        ("u1", "a", "click", START + DAY_US + NOON + MINUTE),
        ("u1", "a", "purchase", START + DAY_US + NOON + MINUTE),  # at its touch
        ("u2", "b", "click", START + 8 * DAY_US + NOON),
    ]
    assert keys("eval", "user_id", "item_id", "event", "timestamp_us") == [
        ("u1", "c", "purchase", START + 12 * DAY_US + NOON),
        ("u2", "c", "click", START + 13 * DAY_US + NOON),
    ]
    assert keys("catalog", "item_id") == [("a",), ("b",), ("c",), ("d",)]
    assert keys("impressions", "item_id") == [("a",), ("b",)]
    assert {row["user_id"][0]: (row["target_item_ids"], row.get("known_item_ids")) for row in splits["queries"]} == {
        "u1": (["c"], ["a"]),
        "u2": (["b"], None),
    }
    assert {user for user, _ in found["snapshot"]} == {"u1", "u2", "u3"}

    purchase = next(row for row in splits["train"] if row["event"] == ["purchase"])
    assert purchase["surface"] == ["home"]  # of the click, not of the checkout
    assert purchase["weekday"] == ["2"]  # Tuesday 2 January 2024
    assert purchase["hour"] == ["12"]
    assert purchase["value"] == [10.0]
    assert "history_item_id" not in purchase
    later = next(row for row in splits["eval"] if row["user_id"] == ["u1"])
    assert later["surface"] == ["unknown"]
    assert later["history_item_id"] == ["a", "a"]
    assert later["history_event"] == ["purchase", "click"]
    assert later["user_days_since_last_event"] == [10.0]  # day 2 to day 12


def test_item_rows_have_rates_and_performance(found):
    catalog = {row["item_id"][0]: row for row in map(decode, found["catalog"])}
    rates = {item: (*row["positive_rate"], *row["impression_rate"]) for item, row in catalog.items()}
    expected = {"a": (2 / 3, 1 / 2), "b": (1 / 3, 1 / 2), "c": (0, 0), "d": (0, 0)}  # of 3 train rows and 2 impressions
    assert {item: pytest.approx(pair) for item, pair in expected.items()} == rates
    # Before the cut: 2 conversions (a, ghost), 2 engagements (a, b) and 3 impressions (a, b, a), of 4 items.
    assert catalog["a"]["item_conversion_index"] == pytest.approx([math.log(2 / 1.5)])
    assert catalog["c"]["item_conversion_index"] == pytest.approx([math.log(1 / 1.5)])
    assert catalog["b"]["item_engagement_index"] == pytest.approx([math.log(2 / 1.5)])
    assert catalog["a"]["item_click_rate"] == pytest.approx([(1 + 20 * 2 / 3) / (2 + 20)])
    assert catalog["d"]["item_click_rate"] == pytest.approx([2 / 3])
    assert (catalog["a"]["price"], catalog["a"]["advertiser_id"]) == ([1.0], ["x"])
    assert "price" not in catalog["c"]
    # On day 1, the first of the events, nothing had happened on a day before.
    first = next(row for row in map(decode, found["train"]) if row["item_id"] == ["a"])
    assert first["item_conversion_index"] == [0.0]
    assert "item_click_rate" not in first
    # On day 3, when `b` was shown: 1 conversion and 1 engagement, both of `a`.
    shown = next(row for row in map(decode, found["impressions"]) if row["item_id"] == ["b"])
    assert shown["item_conversion_index"] == pytest.approx([math.log(1 / (1 / 4 + 1))])
    assert shown["item_click_rate"] == pytest.approx([(0 + 20 * 1 / 1) / (0 + 20)])


def test_positive_and_impression_rates_are_the_shares_of_the_written_rows(found):
    for split, name in (("train", "positive_rate"), ("impressions", "impression_rate")):
        written = [decode(row)["item_id"][0] for row in found[split]]
        rates = {row["item_id"][0]: row[name][0] for row in map(decode, found["catalog"])}
        assert sum(rates.values()) == pytest.approx(1.0)
        assert rates == pytest.approx({item: written.count(item) / len(written) for item in rates})


def test_bad_rows_are_dead_letters_and_counted(found):
    letters = [json.loads(line) for line in found["dead_letters"]]
    assert sorted((letter["table"], letter["reason"]) for letter in letters) == [
        ("events", "item_not_in_catalogue"),
        ("events", "missing_id"),
        ("events", "unknown_event"),
    ]
    ghost = next(letter for letter in letters if letter["reason"] == "item_not_in_catalogue")
    assert ghost["row"] == {"item_id": "ghost", "positives": 1, "impressions": 0}
    assert "add the item" in ghost["remedy"]
    assert {name: number for name, number in found["counts"].items() if number} == {
        "events.rows": 12,
        "items.rows": 4,
        "dead_letters.events.missing_id": 1,
        "dead_letters.events.unknown_event": 1,
        "dead_letters.events.item_not_in_catalogue": 1,
        "events.dropped.item_not_in_catalogue": 1,
        "conversions.attributed.click": 2,  # a of u1, b of u2
        "conversions.attributed.none": 2,  # c of u1, ghost of u3
        "positives.train": 4,  # with the ghost's
        "positives.eval": 2,
        "positives.dropped.straddles_cut_or_too_old": 1,
    }


def test_conversions_are_measured_by_day_lag_and_advertiser(found):
    assert dict(found["measures"]) == {
        ("day", START // DAY_US + 2): (1, 1),
        ("day", START // DAY_US + 5): (1, 1),  # the ghost
        ("day", START // DAY_US + 12): (2, 2),
        ("lag", bucket_of_lag(86_340)): (1, 0),  # a minute less than a day
        ("lag", bucket_of_lag(4 * 86_400)): (1, 0),
        ("touches", 0): (6, 0),
    }
    assert sorted(map(json.loads, found["advertisers"]), key=str) == [
        {"advertiser_id": "x", "days": [[START // DAY_US + 2, 1], [START // DAY_US + 12, 1]]},
        {"advertiser_id": "y", "days": [[START // DAY_US + 12, 1]]},
    ]


def test_duplicate_items_and_users_are_one_row_and_counted(tmp_path, examples):
    items = [*ITEMS, ("a", "x", 1.0), ("a", "z", 9.0)]
    users = pd.DataFrame({"user_id": ["u1", "u1", "stranger"], "colour": ["r", "g", "b"]})
    found = examples(write(tmp_path, items=items, users=users))
    catalog = [decode(row) for row in found["catalog"]]
    assert sorted(row["item_id"][0] for row in catalog) == ["a", "b", "c", "d"]
    index = next(row["item_conversion_index"] for row in catalog if row["item_id"] == ["c"])
    assert index == pytest.approx([math.log(1 / 1.5)])  # 2 conversions of 4 items, not of 6 rows
    assert found["counts"]["items.dropped.duplicate_item"] == 2
    assert found["counts"]["dead_letters.items.duplicate_item"] == 2
    assert found["counts"]["users.dropped.duplicate_user"] == 1
    assert found["counts"]["users.ignored_column.colour"] == 3


def test_an_empty_users_table_is_no_users_table(tmp_path, examples, found):
    empty = examples(write(tmp_path, users=pd.DataFrame({"user_id": []})))
    assert empty["counts"].pop("users.rows") == 0
    assert_same(empty, found)


def test_a_single_user_without_impressions(tmp_path, examples):
    events = events_frame([("u", "a", "purchase", 1, 0, None, 1.0), ("u", "b", "purchase", 12, 0, None, None)])
    found = examples(write(tmp_path, events=events))
    assert {name: len(found[name]) for name in SPLITS} == {
        "train": 1,
        "eval": 1,
        "impressions": 0,
        "catalog": 4,
        "queries": 1,
    }
    assert [decode(row)["impression_rate"] for row in found["catalog"]] == [[0.0]] * 4
    assert all("item_click_rate" not in decode(row) for row in found["catalog"])


def test_no_events_at_all_leave_the_catalogue(tmp_path, examples):
    found = examples(write(tmp_path, events=events_frame([])))
    assert {name: len(found[name]) for name in SPLITS if found[name]} == {"catalog": 4}
    assert found["counts"] == {"events.rows": 0, "items.rows": 4}


def sharded(folder, num_shards):
    """The same rows in another order, in shards of several formats."""
    events = events_frame().sample(frac=1.0, random_state=num_shards)
    items = pd.DataFrame(ITEMS, columns=["item_id", "advertiser_id", "price"]).iloc[::-1]
    for table, frame in (("events", events), ("items", items)):
        (folder / table).mkdir(parents=True)
        for number in range(num_shards):
            shard = frame.iloc[number::num_shards]
            path = folder / table / f"part-{number}"
            if number % 3 == 0:
                shard.to_parquet(path.with_suffix(".parquet"), index=False)
            elif number % 3 == 1:
                shard.to_json(path.with_suffix(".jsonl.gz"), orient="records", lines=True)
            else:
                shard.to_csv(path.with_suffix(".csv"), index=False)
    return str(folder)


def assert_same(found, expected):
    for split in SPLITS:
        assert sorted(found[split]) == sorted(expected[split])
    assert found["counts"] == expected["counts"]
    assert sorted(found["snapshot"]) == sorted(expected["snapshot"])
    assert found["period"] == expected["period"]
    assert dict(found["measures"]) == dict(expected["measures"])
    assert sorted(found["advertisers"]) == sorted(expected["advertisers"])


def test_the_result_does_not_depend_on_shards_formats_and_order(tmp_path, examples, found):
    assert_same(examples(sharded(tmp_path, 4)), found)
