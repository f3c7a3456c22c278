import numpy as np
import pytest
from planted_labels import LAST_DAY
from planted_labels import constant
from planted_labels import write_examples

from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.labels import Labels
from tfx_pipeline.health.labels import date_of
from tfx_pipeline.health.labels import describe_labels
from tfx_pipeline.health.labels import lag_percentiles


def describe(tmp_path, **planted):
    config = HealthConfig()
    return describe_labels(Labels.read(write_examples(tmp_path, **planted), config), config)


def test_days_without_conversions_are_listed_too(tmp_path):
    found = describe(tmp_path, days={LAST_DAY - 3: (5, 2), LAST_DAY: (1, 1)})
    dates = ["2024-10-01", "2024-10-02", "2024-10-03", "2024-10-04"]  # 20,000 days after 1970-01-01
    assert found["conversions_per_day"] == [
        {"day": date, "conversions": number} for date, number in zip(dates, (5, 0, 0, 1), strict=True)
    ]
    assert (found["silent_days"], found["unexpected_silent_days"]) == (2, [])
    assert found["recent_days"] is None  # four days have no recent week and no week before


def test_the_largest_advertisers_come_with_both_windows(tmp_path):
    advertisers = {f"a{size:02}": constant(size) for size in range(1, 13)}
    found = describe(tmp_path, advertisers={**advertisers, "jumps": constant(1, recent=1_000)})
    assert found["top_advertisers"][0] == {
        "advertiser_id": "jumps",
        "conversions": 28 + 7_000,
        "recent": 7_000,
        "before": 28,
    }
    assert [found["advertiser_id"] for found in found["top_advertisers"][1:]] == [f"a{n:02}" for n in range(12, 3, -1)]
    assert (found["recent_days"], found["before_days"]) == (7, 28)


def test_lag_percentiles_are_those_of_numpy():
    seconds = np.random.default_rng(5).lognormal(9.0, 2.0, 20_000)
    from tfx_pipeline.examples.label_health import bucket_of_lag

    buckets, numbers = np.unique([bucket_of_lag(s) for s in seconds], return_counts=True)
    found = lag_percentiles([[int(b), int(n)] for b, n in zip(buckets, numbers, strict=True)])
    expected = np.percentile(seconds, [10, 50, 90, 99], method="inverted_cdf") / 86_400
    np.testing.assert_allclose(list(found.values()), expected, rtol=0.01)
    assert list(found) == ["p10", "p50", "p90", "p99"]


def test_a_lag_that_all_share_is_every_percentile(tmp_path):
    found = describe(tmp_path, days={LAST_DAY: (4, 4)}, lags=[(3 * 86_400, 4)])["lag_days"]
    assert found == {name: pytest.approx(3.0, rel=0.005) for name in ("p10", "p50", "p90", "p99")}


def test_shares_are_of_what_they_say(tmp_path):
    counts = {
        "events.rows": 200,
        "events.dropped.duplicate": 8,
        "conversions.attributed.click": 30,
        "conversions.attributed.view": 10,
        "conversions.attributed.none": 60,
        "dead_letters.events.missing_id": 3,
        "dead_letters.events.item_not_in_catalogue": 1,  # an item
        "events.dropped.item_not_in_catalogue": 5,  # its rows
    }
    found = describe(tmp_path, days={LAST_DAY: (100, 9)}, counts=counts, num_touches=1)
    assert (found["duplicates_share"], found["unattributed_share"]) == (0.04, 0.6)
    assert found["dead_letters"] == {"events.missing_id": 3, "events.item_not_in_catalogue": 5}


def test_what_cannot_be_measured_is_none(tmp_path):
    found = describe(tmp_path, counts={"conversions.attributed.none": 60})  # no touches at all
    assert (found["unattributed_share"], found["lag_days"]) == (None, None)
    assert (found["conversions_per_day"], found["top_advertisers"]) == ([], [])
    assert found["duplicates_share"] == 0.0


def test_a_long_past_is_cut(tmp_path):
    found = describe(tmp_path, days={LAST_DAY - 5_000: (1, 1), LAST_DAY: (1, 1)})["conversions_per_day"]
    assert (len(found), found[-1]["day"]) == (1_100, date_of(LAST_DAY))
