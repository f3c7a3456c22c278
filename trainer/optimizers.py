"""The two optimizers of a training, and the rates' schedule."""

import tensorflow as tf

from trainer.config import TrainerConfig


def optimizers(
    config: TrainerConfig, *, total_steps: int
) -> tuple[tf.keras.optimizers.legacy.Optimizer, tf.keras.optimizers.legacy.Optimizer]:
    """Adam for dense layers, Adagrad for embedding tables.

    Adam keeps dense moments of a table; Adagrad touches only the rows of the batch. Gradients of a mean over the batch are about
    1e-4 an entry; Keras starts Adagrad's accumulators at 0.1, which would freeze the tables.
    """
    dense = tf.keras.optimizers.legacy.Adam(_schedule(config.learning_rate, config, total_steps=total_steps))
    tables = tf.keras.optimizers.legacy.Adagrad(
        _schedule(config.table_learning_rate, config, total_steps=total_steps), initial_accumulator_value=1e-6
    )
    return dense, tables


def current_rate(optimizer: tf.keras.optimizers.legacy.Optimizer) -> float:
    """The learning rate of the next step."""
    rate = optimizer.learning_rate
    return float(tf.convert_to_tensor(rate(optimizer.iterations) if callable(rate) else rate))


def _schedule(
    rate: float, config: TrainerConfig, *, total_steps: int
) -> float | tf.keras.optimizers.schedules.LearningRateSchedule:
    warmup = min(config.warmup_steps, total_steps)
    if config.learning_rate_schedule == "cosine":
        # Keras counts the decay's steps after those of the warm-up.
        return tf.keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, total_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        return tf.keras.optimizers.schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate)
    return rate
