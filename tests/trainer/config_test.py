import pytest

from trainer.config import TrainerConfig


@pytest.mark.parametrize(
    ("hidden_positives", "events", "expected"),
    [
        ("auto", ["purchase", "add_to_cart"], 1.0),
        ("auto", ["purchase", "click"], 0.0),
        ("auto", ["save", "purchase"], 0.0),
        ("on", ["purchase", "click"], 1.0),
        ("off", ["purchase"], 0.0),
    ],
)
def test_there_are_hidden_positives_in_a_log_of_conversions_alone(hidden_positives, events, expected):
    config = TrainerConfig(hidden_positives=hidden_positives, seed=7).for_events(events)
    assert config.reconstruction_weight == expected
    assert config.seed == 7
    assert config.for_events(events) == config
