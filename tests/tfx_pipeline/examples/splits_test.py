from itertools import chain

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

from tfx_pipeline.examples import splits
from tfx_pipeline.examples.attribution import attribute
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.impressions import find_unengaged
from tfx_pipeline.examples.sessions import build_log
from tfx_pipeline.examples.splits import split_of
from tfx_pipeline.examples.types import Period
from tfx_pipeline.examples.types import Positive

DAY_US = 86_400_000_000
CUT = 19_000 * DAY_US
PERIOD = Period(CUT, CUT + 14 * DAY_US)
LABELS = {"event", "task", "value", "click_duration_s"}


def decode(serialized):
    features = tf.train.Example.FromString(serialized).features.feature
    values = {name: list(getattr(f, f.WhichOneof("kind")).value) for name, f in features.items()}
    return {name: [v.decode() if isinstance(v, bytes) else v for v in found] for name, found in values.items()}


def rows_of(run, logs, groups, config=None):
    config = config or ExamplesConfig()
    logs = [find_unengaged(attribute(log, config), config, PERIOD) for log in logs]

    def graph(pipeline):
        period = beam.pvalue.AsSingleton(pipeline | "Period" >> beam.Create([PERIOD]))
        rows = pipeline | beam.Create(logs) | splits.TimeSplit(groups, config, period)
        names = (splits.POSITIVES, splits.IMPRESSIONS, splits.QUERIES, splits.SNAPSHOT, splits.COUNTS)
        return {name: rows[name] for name in names}

    found = run(graph)
    lists = (splits.POSITIVES, splits.IMPRESSIONS, splits.QUERIES)
    return {**found, **{name: list(chain.from_iterable(found[name])) for name in lists}}


@pytest.mark.parametrize(
    ("touch_us", "event_us", "train_days", "expected"),
    [
        (CUT - 2, CUT - 1, 0, "train"),
        (CUT - 1, CUT, 0, None),  # straddles: the conversion is the future, its touch is the past
        (CUT - 1, CUT + 1, 0, None),
        (CUT, CUT, 0, "eval"),
        (CUT, CUT + 1, 0, "eval"),
        (CUT - 3 * DAY_US, CUT - 1, 3, "train"),
        (CUT - 3 * DAY_US - 1, CUT - 1, 3, None),
        (CUT - 900 * DAY_US, CUT - 1, 0, "train"),
        (CUT + DAY_US, CUT + DAY_US, 3, "eval"),
    ],
)
def test_split_of(event, touch_us, event_us, train_days, expected):
    positive = Positive(event("a", "purchase", event_us), event("a", "click", touch_us), "click")
    assert split_of(positive, PERIOD, train_days=train_days) == expected


def test_rows_of_one_user(event, user_log, groups, run):
    log = user_log(
        event("a", "purchase", CUT - 9 * DAY_US, value=3.0),
        event("x", "impression", CUT - 8 * DAY_US),
        event("b", "click", CUT - 2 * DAY_US, duration_s=4.0, surface="home"),
        event("b", "purchase", CUT - DAY_US, value=7.0),
        event("c", "click", CUT - 1, duration_s=5.0),
        event("c", "purchase", CUT + 1),  # straddles
        event("a", "purchase", CUT + DAY_US),
        event("y", "impression", CUT + DAY_US),
    )
    found = rows_of(run, [log], groups)
    positives = [(item, split, day, decode(part)) for item, (split, day, part) in found["positives"]]
    told = [
        (item, row["event"][0], split, day - CUT // DAY_US, *row["is_repeat"]) for item, split, day, row in positives
    ]
    assert sorted(told) == [
        ("a", "purchase", "eval", 1, 1),
        ("a", "purchase", "train", -9, 0),
        ("b", "click", "train", -2, 0),
        ("b", "purchase", "train", -2, 0),  # the day of the touch, not of the purchase
        ("c", "click", "train", -1, 0),
    ]
    by_key = {(item, row["event"][0]): row for item, _, _, row in positives}
    row = by_key["b", "purchase"]
    assert row["timestamp_us"] == [CUT - 2 * DAY_US]
    assert row["task"] == ["conversion"]
    assert row["value"] == [7.0]
    assert row["surface"] == ["home"]
    assert row["history_item_id"] == ["a"]
    assert "click_duration_s" not in row
    click = by_key["b", "click"]
    assert click["task"] == ["engagement"]
    assert click["click_duration_s"] == [4.0]
    assert "value" not in click
    assert found["impressions"] == [("x", CUT // DAY_US - 8)]
    assert dict(found["counts"])["positives.train"] == 4
    assert dict(found["counts"])["positives.eval"] == 1
    assert dict(found["counts"])["positives.dropped.straddles_cut_or_too_old"] == 1


def test_a_query_knows_the_past_and_is_asked_for_the_future(event, user_log, groups, run):
    asked = user_log(
        event("a", "purchase", CUT - DAY_US),
        event("b", "add_to_cart", CUT - 1),
        event("d", "click", CUT - 1),
        event("b", "purchase", CUT),
        event("c", "purchase", CUT + 1),
        event("c", "purchase", CUT + 2),
        event("e", "click", CUT + 3),
        user_id="asked",
    )
    new = user_log(event("z", "purchase", CUT + 5), user_id="new")
    silent = user_log(event("a", "purchase", CUT - 1), event("e", "click", CUT + 3), user_id="silent")
    found = rows_of(run, [asked, new, silent], groups)
    queries = {row["user_id"][0]: row for row in map(decode, found["queries"])}
    assert set(queries) == {"asked", "new"}  # `silent` converted on nothing after the cut
    assert queries["asked"]["target_item_ids"] == ["b", "c"]
    assert queries["asked"]["known_item_ids"] == ["a", "b"]
    assert queries["asked"]["history_item_id"] == ["d", "b", "a"]
    assert queries["asked"]["timestamp_us"] == [CUT]
    assert queries["asked"]["surface"] == ["unknown"]
    assert queries["asked"]["hour"] == ["0"]  # CUT is midnight
    assert queries["new"]["target_item_ids"] == ["z"]
    assert "known_item_ids" not in queries["new"]
    assert "history_item_id" not in queries["new"]
    snapshot = dict(found["snapshot"])
    assert set(snapshot) == {"asked", "new", "silent"}
    assert snapshot["asked"]["history_item_id"] == ["e", "c", "c", "b", "d", "b", "a"]  # as of the end of the data
    assert snapshot["asked"]["user_num_purchases"] == 4.0


def random_events(rng):
    kinds = rng.choice(["impression", "click", "save", "add_to_cart", "purchase"], size=30)
    moments = CUT + rng.integers(-40, 40, size=30) * DAY_US // 5
    return [
        (f"i{item}", str(kind), int(at), None, None, "", (("surface", f"s{item % 3}"),))
        for item, kind, at in zip(rng.integers(0, 5, size=30), kinds, moments, strict=True)
    ]


def test_no_row_knows_the_future(groups, run):
    """60 random users, each beside a twin whose log ends at the touch of one positive, but for the positive itself."""
    rng = np.random.default_rng(5)
    config = ExamplesConfig()
    logs, twins = [], {}
    for number in range(60):
        events = random_events(rng)
        log = build_log(f"u{number}", [events], [], config=config)
        logs.append(log)
        positive = attribute(build_log("", [events], [], config=config), config).positives[-1 - number % 5]
        until = [row for row in events if row[2] <= positive.touch.timestamp_us]
        own = (*positive.event[:3], None, *positive.event[4:])
        twins[number] = positive
        logs.append(build_log(f"twin{number}", [until, [own]], [], config=config))
    found = rows_of(run, logs, groups, config)
    rows = {}
    for item, (split, day, part) in found["positives"]:
        row = decode(part)
        name = (row.pop("user_id")[0], item, row["event"][0], row["timestamp_us"][0], split, day)
        rows.setdefault(name, []).append({k: v for k, v in row.items() if k not in LABELS})
    num_compared = 0
    for number, positive in twins.items():
        split = split_of(positive, PERIOD, train_days=0)
        if split is None:
            continue
        moment = positive.touch.timestamp_us
        key = (positive.event.item_id, positive.event.event, moment, split, moment // DAY_US)
        assert rows[(f"u{number}", *key)][0] == rows[(f"twin{number}", *key)][0]
        num_compared += 1
    assert num_compared > 40
    moments = {split: [row[3] for row in rows if row[4] == split] for split in ("train", "eval")}
    assert max(moments["train"]) < CUT <= min(moments["eval"])


def test_no_conversion_at_or_after_the_cut_is_trained_on(groups, run):
    """A training row's conversion may be recognised by its value, the moment of the conversion in days from the cut."""
    rng = np.random.default_rng(6)
    logs = []
    for number in range(40):
        events = [(*row[:4], float(row[2] - CUT) / DAY_US + 100.0, *row[5:]) for row in random_events(rng)]
        logs.append(build_log(f"u{number}", [events], [], config=ExamplesConfig()))
    found = rows_of(run, logs, groups)
    values = {"train": [], "eval": []}
    for _, (split, _, part) in found["positives"]:
        values[split] += decode(part).get("value", [])
    assert len(values["train"]) > 100
    assert max(values["train"]) < 100.0 <= min(values["eval"])


def test_shuffle_mixes_rows_that_came_item_by_item_and_loses_none() -> None:
    # 100 items with 20 rows each, item by item. In a random order a window of 100 rows holds about
    # 100 * (1 - 0.99**100) = 63 distinct items; in the order of arrival it holds 5.
    lists = [[f"{item}:{row}".encode() for row in range(20)] for item in range(100)]
    rows = list(chain.from_iterable(lists))

    def check(lists: list[list[bytes]]) -> None:
        found = list(chain.from_iterable(lists))
        assert sorted(found) == sorted(rows)
        windows = [found[start : start + 100] for start in range(0, len(rows), 100)]
        assert min(len({row.split(b":")[0] for row in window}) for window in windows) > 45

    with test_pipeline.TestPipeline() as pipeline:
        assert_that(pipeline | beam.Create(lists, reshuffle=False) | splits.Shuffle(), check)


def test_train_rows_may_hold_shorter_histories(event, user_log, groups, run):
    bought = [event(f"item {day}", "purchase", CUT + day * DAY_US) for day in range(-4, 2)]
    config = ExamplesConfig(history_length=3, train_history_length=1)
    found = rows_of(run, [user_log(*bought)], groups, config)
    lengths = [len(decode(part).get("history_item_id", [])) for _, (_, _, part) in found["positives"]]
    assert lengths == [0, 1, 1, 1, 3, 3]  # four train rows, two of eval
    assert len(decode(found["queries"][0])["history_item_id"]) == 3
    assert len(found["snapshot"][0][1]["history_item_id"]) == 3
