import apache_beam as beam
import numpy as np
import pytest

from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.sessions import Sessions

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


def test_exact_duplicates_are_dropped_and_counted(event, user_log):
    click = event("a", "click", 10, value=None, surface="home")
    other_surface = event("a", "click", 10, surface="search")
    log = user_log(click, event("b", "purchase", 5), click, other_surface, click)
    assert [(e.item_id, e.context) for e in log.events] == [
        ("b", ()),
        ("a", (("surface", "home"),)),
        ("a", (("surface", "search"),)),
    ]
    assert log.counts["events.dropped.duplicate"] == 2  # three equal clicks, one kept


def test_the_cap_keeps_the_newest_events_and_counts_the_others(event, user_log):
    events = [event(f"i{at}", "save", at) for at in (3, 9, 1, 7, 5)]
    log = user_log(*events, config=ExamplesConfig(max_events_per_user=2))
    assert [e.timestamp_us for e in log.events] == [7, 9]
    assert log.counts["events.dropped.over_max_events_per_user"] == 3  # 5 - 2
    assert log.counts["events.dropped.duplicate"] == 0


@pytest.mark.parametrize(
    ("moments_s", "expected_s"),
    [
        ((0, 42), [42.0, None]),  # the gap; the last event of a session has no next
        ((0, 1_200), [600.0, None]),  # 20 minutes, capped at max_click_duration_s
        ((0, 1_800), [600.0, None]),  # exactly session_gap_min is still one session
        ((0, 1_801), [None, None]),  # another session
        ((0, 0, 30), [30.0, 30.0, None]),  # events of one moment wait for the next moment
        ((0, 0), [None, None]),
        ((5,), [None]),
    ],
)
def test_missing_click_durations_are_the_gap_to_the_next_event(event, user_log, moments_s, expected_s):
    log = user_log(*[event(f"i{n}", "click", at * SECOND_US) for n, at in enumerate(moments_s)])
    assert [e.duration_s for e in log.events] == expected_s


def test_given_durations_and_other_events_are_left_alone(event, user_log):
    log = user_log(
        event("a", "click", 0, duration_s=900.0),
        event("b", "save", 1 * SECOND_US),
        event("c", "click", 2 * SECOND_US, duration_s=0.0),
        event("d", "impression", 3 * SECOND_US),
    )
    assert [e.duration_s for e in log.events] == [900.0, None, 0.0, None]


def test_any_event_ends_a_click(event, user_log):
    log = user_log(event("a", "click", 0), event("b", "impression", 7 * SECOND_US))
    assert log.events[0].duration_s == 7.0


@pytest.mark.parametrize("cap", [3, 10, 1_000])
def test_the_log_does_not_depend_on_the_order_of_its_rows(event, user_log, cap):
    """Moments repeat, so that the cap has to choose among events of one moment."""
    rng = np.random.default_rng(cap)
    events = [
        event(
            f"i{rng.integers(3)}",
            str(rng.choice(["click", "save"])),
            int(rng.integers(4)),
            value=float(rng.integers(2)),
        )
        for _ in range(30)
    ]
    config = ExamplesConfig(max_events_per_user=cap)
    expected = user_log(*events, config=config)
    for _ in range(20):
        assert user_log(*(events[i] for i in rng.permutation(len(events))), config=config) == expected


def test_one_row_of_a_duplicate_user_is_taken_whatever_its_order_and_counted(event, user_log):
    rows = [{"age": "b"}, {"age": "a"}]
    logs = [user_log(event("a", "click", 0), attributes=order) for order in (rows, rows[::-1])]
    assert logs[0].attributes == logs[1].attributes
    assert logs[0].attributes in rows
    assert logs[0].counts["users.dropped.duplicate_user"] == 1


def test_users_without_events_have_no_log(event, run):
    def graph(pipeline):
        events = [("u", [tuple(event("a", "click", 0))]), ("v", [tuple(event("a", "click", 0))])]
        users = [("u", {"age": "1"}), ("never_seen", {"age": "2"})]
        grouped = {
            "events": pipeline | "Events" >> beam.Create(events),
            "attributes": pipeline | "Users" >> beam.Create(users),
        } | beam.CoGroupByKey()
        return {"logs": grouped | Sessions(ExamplesConfig())}

    assert {log.user_id: log.attributes for log in run(graph)["logs"]} == {"u": {"age": "1"}, "v": {}}
