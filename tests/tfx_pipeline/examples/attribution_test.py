import pytest

from tfx_pipeline.examples.attribution import attribute
from tfx_pipeline.examples.config import ExamplesConfig

DAY_US = 86_400_000_000
NOW = 100 * DAY_US


def conversions(log):
    return [(p.attribution, p.touch.event, p.touch.timestamp_us) for p in log.positives if p.event.is_conversion]


def test_a_click_goes_before_a_later_view(event, user_log):
    log = user_log(
        event("a", "click", NOW - 3 * DAY_US),
        event("a", "impression", NOW - DAY_US // 2),
        event("a", "purchase", NOW),
    )
    assert conversions(attribute(log, ExamplesConfig())) == [("click", "click", NOW - 3 * DAY_US)]


def test_the_last_touch_of_the_same_item_counts(event, user_log):
    log = user_log(
        event("a", "click", NOW - 3 * DAY_US),
        event("a", "save", NOW - 2 * DAY_US),
        event("b", "click", NOW - DAY_US),
        event("a", "add_to_cart", NOW),
        event("a", "click", NOW + 1),
    )
    assert conversions(attribute(log, ExamplesConfig())) == [("click", "save", NOW - 2 * DAY_US)]


@pytest.mark.parametrize(
    ("touch", "age_us", "expected"),
    [
        ("click", 7 * DAY_US, "click"),  # exactly the window
        ("click", 7 * DAY_US + 1, "none"),
        ("impression", DAY_US, "view"),
        ("impression", DAY_US + 1, "none"),
        ("click", 0, "click"),  # the same moment
        ("impression", 0, "view"),
        ("click", -1, "none"),  # a touch after the conversion
    ],
)
def test_windows_include_their_edges(event, user_log, touch, age_us, expected):
    log = attribute(user_log(event("a", touch, NOW - age_us), event("a", "purchase", NOW)), ExamplesConfig())
    assert [found[0] for found in conversions(log)] == [expected]
    assert log.counts[f"conversions.attributed.{expected}"] == 1


@pytest.mark.parametrize("name", ["click_window_days", "view_window_days"])
def test_a_window_of_zero_is_switched_off(event, user_log, name):
    touch = {"click_window_days": "click", "view_window_days": "impression"}[name]
    log = user_log(event("a", touch, NOW), event("a", "purchase", NOW))
    assert conversions(attribute(log, ExamplesConfig(**{name: 0})))[0][0] == "none"


@pytest.mark.parametrize("keep", [True, False])
def test_conversions_without_a_touch_are_kept_or_dropped_and_counted(event, user_log, keep):
    log = user_log(event("a", "purchase", NOW, surface="home"), event("b", "click", NOW))
    log = attribute(log, ExamplesConfig(keep_unattributed=keep))
    purchase = event("a", "purchase", NOW, surface="home")
    assert [p for p in log.positives if p.event.is_conversion] == ([(purchase, purchase, "none")] if keep else [])
    assert log.counts["conversions.attributed.none"] == 1
    assert log.counts.get("conversions.dropped.unattributed", 0) == (0 if keep else 1)


def test_a_purchase_before_its_own_view_has_no_touch(event, user_log):
    log = user_log(event("a", "purchase", NOW), event("a", "impression", NOW + 5), event("a", "click", NOW + 6))
    assert conversions(attribute(log, ExamplesConfig())) == [("none", "purchase", NOW)]


def test_the_positive_keeps_its_touchs_context_and_its_own_value(event, user_log):
    log = user_log(
        event("a", "click", NOW - 9, surface="search", query="tea"),
        event("a", "purchase", NOW, value=12.0, surface="checkout"),
    )
    positive = attribute(log, ExamplesConfig()).positives[-1]
    assert positive.touch.context == (("surface", "search"), ("query", "tea"))
    assert positive.event.value == 12.0


def test_engagements_are_positives_of_their_own_and_impressions_are_none(event, user_log):
    log = user_log(event("a", "impression", 1), event("a", "click", 2), event("a", "save", 3))
    log = attribute(log, ExamplesConfig())
    assert [(p.event.event, p.touch == p.event, p.attribution) for p in log.positives] == [
        ("click", True, "self"),
        ("save", True, "self"),
    ]
