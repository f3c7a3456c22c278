import pytest

from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.impressions import find_unengaged
from tfx_pipeline.examples.types import Period

DAY_US = 86_400_000_000
CUT = 50 * DAY_US
PERIOD = Period(CUT, CUT + 14 * DAY_US)
SHOWN = CUT - 10 * DAY_US


def unengaged(log, config=None):
    return [(e.item_id, e.timestamp_us) for e in find_unengaged(log, config or ExamplesConfig(), PERIOD).unengaged]


@pytest.mark.parametrize("kind", ["click", "save", "add_to_cart", "purchase"])
@pytest.mark.parametrize(
    ("delay_us", "is_unengaged"),
    [
        (0, False),  # the same moment
        (DAY_US, False),  # the default window of 24 hours includes its end
        (DAY_US + 1, True),
        (-1, True),  # an earlier action is no answer to this impression
    ],
)
def test_an_action_within_the_window_is_an_answer(event, user_log, kind, delay_us, is_unengaged):
    log = user_log(event("a", "impression", SHOWN), event("a", kind, SHOWN + delay_us))
    assert unengaged(log) == ([("a", SHOWN)] if is_unengaged else [])


def test_actions_on_other_items_and_impressions_are_no_answer(event, user_log):
    log = user_log(event("a", "impression", SHOWN), event("b", "click", SHOWN + 1), event("a", "impression", SHOWN + 2))
    assert unengaged(log) == [("a", SHOWN), ("a", SHOWN + 2)]


def test_what_follows_after_the_cut_is_not_looked_at(event, user_log):
    shown = event("a", "impression", CUT - 5)
    futures = [(), (event("a", "purchase", CUT),), (event("a", "click", CUT + 3), event("a", "impression", CUT))]
    found = [unengaged(user_log(shown, *future)) for future in futures]
    assert found == [[("a", CUT - 5)]] * 3


def test_impressions_of_the_evaluation_period_are_left_out(event, user_log):
    log = user_log(event("a", "impression", CUT - 1), event("b", "impression", CUT), event("c", "impression", CUT + 1))
    assert unengaged(log) == [("a", CUT - 1)]


def test_impressions_before_the_training_days_are_left_out(event, user_log):
    log = user_log(
        event("a", "impression", CUT - 3 * DAY_US - 1),
        event("b", "impression", CUT - 3 * DAY_US),
        event("c", "impression", CUT - DAY_US),
        event("c", "click", CUT - DAY_US + 1),
    )
    assert unengaged(log, ExamplesConfig(train_days=3)) == [("b", CUT - 3 * DAY_US)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_sampling_is_by_hash_and_about_its_share(event, user_log, share):
    num = 4_000
    log = user_log(*[event(f"i{n % 50}", "impression", CUT - 1 - n, request_id=f"r{n // 8}") for n in range(num)])
    config = ExamplesConfig(impression_share=share)
    found = unengaged(log, config)
    again = unengaged(user_log(*log.events[::-1]), config)
    assert found == again
    # Five standard deviations of a binomial share: 5 * sqrt(0.25 / 4,000) = 0.04.
    assert len(found) / num == pytest.approx(share, abs=0.04)


def test_sampling_differs_between_users(event, user_log):
    events = [event("i", "impression", CUT - 1 - n) for n in range(2_000)]
    found = []
    for name in ("u", "v"):
        log = user_log(*events, user_id=name)
        found.append({moment for _, moment in unengaged(log, ExamplesConfig(impression_share=0.5))})
    # Independent halves of 2,000 share 500 on average, standard deviation below 20.
    assert 400 < len(found[0] & found[1]) < 600
