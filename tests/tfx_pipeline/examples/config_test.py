import pytest

from tfx_pipeline.examples.config import ExamplesConfig

DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"session_gap_min": 0}, "session_gap_min must be positive. Received: 0"),
        ({"history_length": -1}, "history_length must be positive. Received: -1"),
        ({"max_events_per_user": 0}, "max_events_per_user must be positive"),
        ({"click_window_days": -1}, "click_window_days must not be negative. Received: -1"),
        ({"train_days": -0.5}, "train_days must not be negative"),
        ({"impression_share": 1.5}, r"impression_share must be in \[0, 1\]. Received: 1.5"),
        ({"max_dead_letter_share": -0.1}, r"max_dead_letter_share must be in \[0, 1\]"),
        ({"eval_days": 0}, "eval_days must be positive unless examples.cut is set. Received: 0"),
        ({"performance_window_days": 0}, "performance_window_days must be >= 1. Received: 0"),
        ({"cut": "1st of May"}, "cut must be ISO 8601, e.g. 2011-09-01. Received: '1st of May'"),
    ],
)
def test_values_that_no_run_could_use_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ExamplesConfig(**options)


@pytest.mark.parametrize(
    ("cut", "seconds"),
    [
        ("2024-01-01", 1_704_067_200),  # date -u -d 2024-01-01 +%s
        ("2024-01-01T00:30:00", 1_704_067_200 + 30 * 60),
        ("2024-01-01T01:30:00+01:00", 1_704_067_200 + 30 * 60),
    ],
)
def test_cut_is_utc_unless_it_says_otherwise(cut, seconds):
    assert ExamplesConfig(cut=cut).cut_us(last_us=5) == seconds * 1_000_000


def test_without_a_cut_the_last_days_are_for_evaluation():
    assert ExamplesConfig(eval_days=1.5).cut_us(10 * DAY_US) == 10 * DAY_US - 129_600_000_000  # 36 h


def test_options_survive_json():
    config = ExamplesConfig(cut="2024-01-01", train_days=7)
    assert ExamplesConfig(**config.to_dict()) == config
