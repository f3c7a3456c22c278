import math

import apache_beam as beam
import numpy as np
import pytest

from tfx_pipeline.examples.performance import DailyVolumes
from tfx_pipeline.examples.performance import TrailingVolumes
from tfx_pipeline.examples.performance import Volume
from tfx_pipeline.examples.performance import performance_features

DAY_US = 86_400_000_000


@pytest.mark.parametrize("window_days", [1, 3, 28])
def test_trailing_window_equals_brute_force(window_days):
    rng = np.random.default_rng(window_days)
    daily = {int(day): tuple(map(int, rng.integers(0, 9, size=3))) for day in rng.permutation(60)[:40]}
    trailing = TrailingVolumes(daily.items(), window_days=window_days)
    for day in range(-5, 100):
        inside = [volume for of, volume in daily.items() if day - window_days <= of <= day - 1]
        assert trailing.before(day) == tuple(np.sum(inside, axis=0) if inside else (0, 0, 0))


def test_events_of_the_same_day_do_not_count():
    trailing = TrailingVolumes([(10, (1, 0, 0)), (11, (0, 1, 0)), (12, (0, 0, 1))], window_days=2)
    assert trailing.before(12) == Volume(impressions=1, engagements=1)  # days 10 and 11
    assert trailing.before(13) == Volume(engagements=1, conversions=1)  # days 11 and 12
    assert trailing.before(15) == Volume()


def test_daily_volumes_count_events_by_item_day_and_kind(event, run):
    events = [
        event("a", "impression", 5 * DAY_US),
        event("a", "click", 5 * DAY_US),
        event("a", "save", 6 * DAY_US - 1),
        event("a", "purchase", 6 * DAY_US),
        event("b", "add_to_cart", 5 * DAY_US + 1),
        event("b", "purchase", 5 * DAY_US + 1),
    ]
    rows = [(f"u{n}", tuple(e)) for n, e in enumerate(events)]
    lists = [rows[:2], [], rows[2:]]
    found = run(lambda pipeline: {"volumes": pipeline | beam.Create(lists) | DailyVolumes()})
    assert dict(found["volumes"]) == {("a", 5): (1, 2, 0), ("a", 6): (0, 0, 1), ("b", 5): (0, 0, 2)}


def test_an_index_is_the_log_ratio_to_the_markets_mean():
    features = performance_features(Volume(40, 3, 9), Volume(400, 100, 40), num_items=10)
    assert features["item_conversion_index"] == pytest.approx(math.log(10 / 5))  # (9 + 1) / (40 / 10 + 1)
    assert features["item_engagement_index"] == pytest.approx(math.log(4 / 11))  # (3 + 1) / (100 / 10 + 1)
    assert features["item_click_rate"] == pytest.approx(8 / 60)  # (3 + 20 * 100 / 400) / (40 + 20)


def test_an_average_item_has_index_zero_and_a_new_item_is_below():
    features = performance_features(Volume(0, 5, 4), Volume(0, 50, 40), num_items=10)
    assert features == {"item_conversion_index": 0.0, "item_engagement_index": 0.0}  # no impressions: no click rate
    assert performance_features(Volume(), Volume(0, 50, 40), num_items=10)["item_conversion_index"] == -math.log(5)
    assert performance_features(Volume(), Volume(), num_items=0)["item_conversion_index"] == 0.0


def market_features(seed, growth, days=range(28, 160)):
    """[days, items, 3] features of a market, by default after its first window; it grows by `growth` in 160 days."""
    rng = np.random.default_rng(seed)
    window, num_days, num_items = 28, 160, 60
    rates = rng.gamma(2.0, 1.0, size=num_items)[:, None] * np.array([20.0, 2.0, 1.0])
    trend = np.linspace(1.0, growth, num_days)[:, None, None]
    volumes = rng.poisson(rates * trend)
    items = [TrailingVolumes(enumerate(map(tuple, volumes[:, i])), window_days=window) for i in range(num_items)]
    market = TrailingVolumes(enumerate(map(tuple, volumes.sum(axis=1))), window_days=window)

    def features_on(day, item):
        return list(performance_features(item.before(day), market.before(day), num_items=num_items).values())

    rows = [[features_on(day, item) for item in items] for day in days]
    totals = [[[item.before(day).conversions] for item in items] for day in days]
    return np.array(rows), np.array(totals, dtype=float)


def date_accuracy(features):
    """How well the best threshold on one feature, chosen on half of the items, tells late from early on the others."""
    num_days = len(features)
    is_late = np.repeat(np.arange(num_days) >= num_days // 2, features.shape[1] // 2)
    known, unseen = (features[:, half::2].reshape(num_days * features.shape[1] // 2, -1) for half in (0, 1))
    best = (0.0, 0.0)
    for column in range(features.shape[2]):
        for threshold in np.quantile(known[:, column], np.linspace(0.05, 0.95, 19)):
            for sign in (True, False):
                score = np.mean(((known[:, column] > threshold) == sign) == is_late)
                best = max(best, (score, np.mean(((unseen[:, column] > threshold) == sign) == is_late)))
    return best[1]


def test_the_features_of_a_steady_market_do_not_tell_the_date():
    found = [date_accuracy(market_features(seed, growth=1.0)[0]) for seed in range(4)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)  # chance


def test_the_shorter_window_of_the_first_days_tells_the_date_a_little():
    """Half of the days are of the first window, which no event precedes."""
    found = [date_accuracy(market_features(seed, growth=1.0, days=range(1, 57))[0]) for seed in range(4)]
    assert np.mean(found) < 0.6  # 0.5 is chance


def test_the_features_of_a_growing_market_tell_the_date_less_than_raw_counts():
    """The volume doubles. Smoothing and noise shrink as it grows, so that an index still tells a little."""
    found = [[date_accuracy(values) for values in market_features(seed, growth=2.0)] for seed in range(4)]
    index, raw = np.mean(found, axis=0) - 0.5
    assert raw > 0.05
    assert index < 0.5 * raw
