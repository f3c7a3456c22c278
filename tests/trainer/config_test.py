import pytest

from trainer.config import TrainerConfig


@pytest.mark.parametrize(
    ("hidden_actions", "events", "expected"),
    [
        ("auto", ["purchase", "add_to_cart"], (0.5, 1.0)),
        ("auto", ["purchase", "click"], (0.0, 0.0)),
        ("auto", ["save", "purchase"], (0.0, 0.0)),
        ("on", ["purchase", "click"], (0.5, 1.0)),
        ("off", ["purchase"], (0.0, 0.0)),
    ],
)
def test_actions_are_hidden_in_a_log_of_conversions_alone(hidden_actions, events, expected):
    config = TrainerConfig(hidden_actions=hidden_actions, seed=7).for_events(events)
    assert (config.history_dropout, config.reconstruction_weight) == expected
    assert config.seed == 7
    assert config.for_events(events) == config
