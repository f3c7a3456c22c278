import pytest

from trainer.optimizers import current_rate
from trainer.optimizers import optimizers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {0: 1.0, 50: 1.0, 100: 1.0}),
        ({"warmup_steps": 20}, {0: 0.0, 10: 0.5, 20: 1.0, 100: 1.0}),
        ({"learning_rate_schedule": "cosine"}, {0: 1.0, 50: 0.5, 100: 0.0}),  # (1 + cos(pi t / T)) / 2
        ({"learning_rate_schedule": "cosine", "warmup_steps": 20}, {0: 0.0, 10: 0.5, 20: 1.0, 60: 0.5, 100: 0.0}),
        ({"learning_rate_schedule": "cosine", "warmup_steps": 1000}, {50: 0.5, 99: 0.99}),  # never more than there are
    ],
)
def test_both_rates_follow_the_schedule(small_config, options, expected):
    config = small_config(learning_rate=0.2, table_learning_rate=0.4, **options)
    for optimizer, rate in zip(optimizers(config, total_steps=100), (0.2, 0.4), strict=True):
        for step, share in expected.items():
            optimizer.iterations.assign(step)
            assert current_rate(optimizer) == pytest.approx(rate * share, abs=1e-6)
