import datetime

import numpy as np
import pytest

from schemas import tables
from tfx_pipeline.examples.attribution import attribute
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.encode import encode
from tfx_pipeline.examples.history import UserHistory
from tfx_pipeline.examples.history import context_features
from tfx_pipeline.examples.history import time_features
from tfx_pipeline.examples.types import Event

DAY_US = 86_400_000_000
HOUR_US = DAY_US // 24
NOW = 19_000 * DAY_US
COUNTS = {"user_num_clicks": "click", "user_num_saves": "save", "user_num_add_to_carts": "add_to_cart"}
COUNTS["user_num_purchases"] = "purchase"


def random_events(rng, num):
    """A user's log on a coarse grid of moments, so that moments repeat; a few items, so that touches are found."""
    moments = NOW + rng.integers(0, 12, size=num) * 6 * HOUR_US
    kinds = rng.choice(tables.EVENT_TYPES, size=num)
    items = rng.integers(0, 4, size=num)
    surfaces = rng.choice(["home", "search"], size=num)
    return [
        Event(f"i{item}", str(kind), int(at), None, None, "", (("surface", str(surface)),))
        for item, kind, at, surface in zip(items, kinds, moments, surfaces, strict=True)
    ]


def query_part(log, touch, groups, length=5):
    """Everything that a row takes from its user and its touch."""
    history = UserHistory(log, groups, length=length)
    features = history.features(touch.timestamp_us)
    repeat = {f"is_repeat_{n}": int(history.is_repeat(f"i{n}", touch.timestamp_us)) for n in range(4)}
    row = {"user_id": log.user_id, **features, **context_features(touch, groups), **repeat}
    return features, encode(row)


def test_only_what_was_strictly_before_the_moment_counts(event, user_log, groups):
    log = user_log(event("a", "click", NOW - 1), event("b", "click", NOW), event("c", "click", NOW + 1))
    features = UserHistory(log, groups, length=9).features(NOW)
    assert features["history_item_id"] == ["a"]
    assert features["user_num_clicks"] == 1.0


def test_lines_of_one_basket_do_not_see_each_other(event, user_log, groups):
    log = user_log(*[event(item, "purchase", NOW) for item in "abc"])
    history = UserHistory(log, groups, length=9)
    assert history.features(NOW)["history_item_id"] == []
    assert history.features(NOW)["user_num_purchases"] == 0.0
    assert not any(history.is_repeat(item, NOW) for item in "abc")
    assert history.features(NOW + 1)["user_num_purchases"] == 3.0


def test_lists_are_newest_first_aligned_and_capped(event, user_log, groups):
    log = user_log(
        event("a", "click", NOW - 4 * DAY_US),
        event("b", "save", NOW - 3 * DAY_US),
        event("b", "impression", NOW - 2 * DAY_US),  # no action
        event("c", "purchase", NOW - DAY_US // 2),
    )
    features = UserHistory(log, groups, length=2).features(NOW)
    assert features["history_item_id"] == ["c", "b"]
    assert features["history_event"] == ["purchase", "save"]
    assert features["history_age_days"] == [0.5, 3.0]
    assert features["user_num_clicks"] == 1.0  # the counts know more than the lists
    assert features["user_num_distinct_items"] == 3.0
    assert features["user_days_since_last_event"] == 0.5


def test_a_user_without_a_past_has_zero_counts_and_no_last_event(event, user_log, groups):
    log = user_log(event("a", "click", NOW), attributes=[{"age": "45-54"}])
    features = UserHistory(log, groups, length=2).features(NOW)
    assert "user_days_since_last_event" not in features
    assert features["age"] == "45-54"
    assert {name: features[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_equals_brute_force(seed, user_log, groups):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        log = user_log(*random_events(rng, int(rng.integers(1, 40))))
        history = UserHistory(log, groups, length=5)
        for moment in NOW + rng.integers(-1, 80, size=6) * HOUR_US:
            past = [e for e in log.events if e.event != "impression" and e.timestamp_us < moment]
            features = history.features(int(moment))
            for name, kind in COUNTS.items():
                assert features[name] == sum(e.event == kind for e in past)
            assert features["user_num_distinct_items"] == len({e.item_id for e in past})
            ages = [(moment - e.timestamp_us) / DAY_US for e in past]
            assert features.get("user_days_since_last_event") == (min(ages) if past else None)
            assert features["history_age_days"] == sorted(ages)[:5]
            assert features["history_item_id"] == [e.item_id for e in past[::-1][:5]]
            conversions = [e for e in log.events if e.event in ("purchase", "add_to_cart")]
            before = {e.item_id for e in conversions if e.timestamp_us < moment}
            assert history.converted_before(int(moment)) == before
            assert history.converted_since(int(moment)) == {e.item_id for e in conversions if e.timestamp_us >= moment}
            assert {f"i{n}" for n in range(4) if history.is_repeat(f"i{n}", int(moment))} == before


def _deleted(rng, touch, future):
    return []


def _half_deleted(rng, touch, future):
    return [e for e in future if rng.random() < 0.5]


def _shuffled(rng, touch, future):
    """The same events, at one another's moments."""
    moments = rng.permutation([e.timestamp_us for e in future])
    return [e._replace(timestamp_us=int(at)) for e, at in zip(future, moments, strict=True)]


def _replaced(rng, touch, future):
    strangers = random_events(rng, 10)
    return [e._replace(timestamp_us=touch.timestamp_us + 1 + n * HOUR_US) for n, e in enumerate(strangers)]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_after_the_touch_leaks_into_the_query(seed, user_log, groups):
    """For every positive of 200 random logs: any other future leaves every byte of the query part as it is."""
    rng = np.random.default_rng([seed, 7])
    num_rows = num_late = 0
    for _ in range(40):
        events = random_events(rng, int(rng.integers(2, 30)))
        log = attribute(user_log(*events), ExamplesConfig(view_window_days=2.0))
        for positive in log.positives:
            touch = positive.touch
            expected = query_part(log, touch, groups)
            past = [e for e in events if e.timestamp_us <= touch.timestamp_us]
            future = [e for e in events if e.timestamp_us > touch.timestamp_us]
            for change in (_deleted, _half_deleted, _shuffled, _replaced):
                other = user_log(*past, *change(rng, touch, future))
                assert query_part(other, touch, groups) == expected
            alone = user_log(*[e for e in past if e.timestamp_us < touch.timestamp_us], touch)
            assert query_part(alone, touch, groups) == expected  # nor does the touch's own moment leak
            num_rows += 1
            num_late += positive.event.timestamp_us > touch.timestamp_us
    assert num_rows > 200  # the property was not tested on nothing
    assert num_late > 20  # some conversions came after their touch


def test_context_is_of_the_touch_and_of_the_schema(event, groups):
    touch = event("a", "click", NOW, surface="search", query="green tea", colour="no feature")
    assert context_features(touch, groups) == {
        "surface": "search",
        "query": "green tea",
        **time_features(NOW),
    }
    assert context_features(event("a", "click", NOW), groups)["surface"] == "unknown"


def test_a_vector_of_the_context_is_a_list_again(event, groups):
    found = context_features(event("a", "click", NOW, query=(1.0, 2.0)), groups)
    assert found["query"] == [1.0, 2.0]


@pytest.mark.parametrize("seed", range(3))
def test_hour_and_weekday_are_those_of_the_calendar(seed):
    rng = np.random.default_rng(seed)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    for moment_us in (0, DAY_US - 1, DAY_US, *map(int, rng.integers(0, 2**51, size=200))):
        moment = epoch + datetime.timedelta(microseconds=moment_us)
        assert time_features(moment_us) == {"hour": str(moment.hour), "weekday": str(moment.isoweekday())}
