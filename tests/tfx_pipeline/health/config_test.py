import pytest

from tfx_pipeline.configs import build_config
from tfx_pipeline.health.config import CHECKS
from tfx_pipeline.health.config import HealthConfig


@pytest.mark.parametrize(
    ("options", "text"),
    [
        *(({check: "loud"}, f"health.{check} must be off, warn or block. Received: 'loud'") for check in CHECKS),
        ({"max_skew_distance": 1.1}, r"health.max_skew_distance must be in \[0, 1\]. Received: 1.1"),
        ({"max_drift_divergence": -0.1}, r"health.max_drift_divergence must be in \[0, 1\]. Received: -0.1"),
        ({"max_duplicates_share": 2.0}, r"health.max_duplicates_share must be in \[0, 1\]. Received: 2.0"),
        ({"max_change": 1.0}, "health.max_change must be above 1. Received: 1.0"),
        ({"max_drift_rows": 0.5}, "health.max_drift_rows must be above 1. Received: 0.5"),
        ({"recent_days": 0}, "health.recent_days must be >= 1. Received: 0"),
        ({"min_conversions": 0}, "health.min_conversions must be >= 1. Received: 0"),
        ({"recent_days": 8, "before_days": 7}, "health.before_days must be >= health.recent_days=8. Received: 7"),
        ({"false_alarm": 0.0}, "health.false_alarm must be above 0 and below 1. Received: 0.0"),
        ({"max_silent_days": -1}, "health.max_silent_days must be >= 0. Received: -1"),
    ],
)
def test_unusable_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        HealthConfig(**options)


def test_a_check_is_set_by_name_on_the_command_line():
    config = build_config("online_retail", settings=["health.drift=block", "health.max_drift_distance=0.2"])
    assert (config.health.drift, config.health.skew) == ("block", "warn")
    assert config.health.max_drift_distance == 0.2
    assert HealthConfig(**config.health.to_dict()) == config.health
