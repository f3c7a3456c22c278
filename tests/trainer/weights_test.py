import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.weights import duration_weight
from trainer.weights import event_weight
from trainer.weights import row_weights

HALF = {
    "relative": math.log(1.5) / math.log(2),  # log1p(60 / 120) / log 2
    "log": math.log(61) / math.log(121),
    "none": 1.0,
}


@pytest.mark.parametrize("weighting", HALF)
def test_duration_weight(weighting):
    durations = tf.constant([0.0, 60.0, 120.0, 1e6, -1.0])
    found = duration_weight(durations, t_max_s=120.0, weighting=weighting)
    none = 1.0 if weighting == "none" else 0.0
    np.testing.assert_allclose(found, [none, HALF[weighting], 1.0, 1.0, HALF[weighting]], atol=1e-6)


@pytest.mark.parametrize("weighting", ["relative", "log"])
def test_duration_weight_grows_with_the_duration(weighting):
    weights = duration_weight(tf.linspace(0.0, 120.0, 50), t_max_s=120.0, weighting=weighting).numpy()
    assert (np.diff(weights) > 0).all()


@pytest.fixture
def config(small_config):
    return small_config(conversion_weight=2.0, add_to_cart_weight=0.25, value_weight=0.5, engagement_weight=0.3)


def test_rows_weigh_by_user_type_value_and_duration(config):
    inputs = {
        "task": tf.constant(["conversion", "conversion", "conversion", "engagement"]),
        "event": tf.constant(["purchase", "purchase", "add_to_cart", "click"]),
        "value": tf.constant([math.e - 1, -1.0, 0.0, 50.0]),  # log1p 1; unknown; none; a click's is not asked
        "click_duration_s": tf.constant([-1.0, -1.0, -1.0, 120.0]),
        "user_weight": tf.constant([1.0, 1.0, 1.0, 0.5]),
    }
    np.testing.assert_allclose(row_weights(inputs, config), [2 * 1.5, 2.0, 2 * 0.25, 0.5 * 0.3], rtol=1e-6)


@pytest.mark.parametrize(("event", "weight"), [("purchase", 2.0), ("add_to_cart", 0.5), ("click", 0.3), ("save", 0.3)])
def test_hidden_actions_weigh_by_type(config, event, weight):
    assert event_weight(event, config) == pytest.approx(weight)
