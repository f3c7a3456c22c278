"""What each positive weighs in the loss."""

import math

import tensorflow as tf

from schemas import tables
from trainer.config import TrainerConfig
from trainer.inputs import USER_WEIGHT
from trainer.tables import Features


def row_weights(inputs: Features, config: TrainerConfig) -> tf.Tensor:
    """[batch] float32: by user; a conversion by type and value, an engagement by click duration."""
    conversions = tf.where(inputs["event"] == tables.ADD_TO_CART, config.add_to_cart_weight, 1.0)
    if config.value_weight:
        conversions *= 1.0 + config.value_weight * tf.math.log1p(tf.maximum(inputs["value"], 0.0))
    engagements = duration_weight(
        inputs["click_duration_s"], t_max_s=config.t_max_s, weighting=config.duration_weighting
    )
    by_task = tf.where(
        inputs["task"] == "conversion",
        config.conversion_weight * conversions,
        config.engagement_weight * engagements,
    )
    return by_task * inputs[USER_WEIGHT]


def event_weight(event: str, config: TrainerConfig) -> float:
    """Of a hidden action of a history, whose value and duration are not known there."""
    if event not in tables.CONVERSIONS:
        return config.engagement_weight
    return config.conversion_weight * (config.add_to_cart_weight if event == tables.ADD_TO_CART else 1.0)


def duration_weight(duration_s: tf.Tensor, *, t_max_s: float, weighting: str = "relative") -> tf.Tensor:
    """Weight of a click in [0, 1]; no formula is published, these are ours.

    Args:
        duration_s: [batch] float32 seconds; negative: unknown, taken as half of `t_max_s`.
        t_max_s: duration of full weight, seconds.
        weighting: `relative`: `log1p(min(t, t_max) / t_max) / log 2`; `log`: `log1p(min(t, t_max)) / log1p(t_max)`, which rises
            within seconds; `none`: 1.
    """
    if weighting == "none":
        return tf.ones_like(duration_s)
    known = tf.minimum(tf.where(duration_s < 0, t_max_s / 2, duration_s), t_max_s)
    if weighting == "log":
        return tf.math.log1p(known) / math.log1p(t_max_s)
    return tf.math.log1p(known / t_max_s) / math.log(2)
