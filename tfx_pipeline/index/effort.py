"""How hard an approximate index looks: what is tuned without building it again."""

from dataclasses import dataclass

import tensorflow as tf

TUNED_K = 100
"""Results for which an effort is chosen; a request for more takes the same multiple of it."""


@dataclass(frozen=True)
class Effort:
    """The work for up to `TUNED_K` results.

    Attributes:
        num_searched: parts of the catalogue that a query visits; 0 where it is in one part.
        num_reordered: candidates that are scored exactly; 0 where all items are.
    """

    num_searched: int
    num_reordered: int


def work_for_k(
    amount: int | tf.Tensor, k: tf.Tensor, *, at_least: int | tf.Tensor, limit: int | tf.Tensor
) -> tf.Tensor:
    """An amount of work for `TUNED_K` results -> for k, a scalar int32 between `at_least` and `limit`."""
    wanted = tf.cast(tf.math.ceil(tf.cast(amount, tf.float32) * tf.cast(k, tf.float32) / TUNED_K), tf.int32)
    return tf.minimum(tf.maximum(tf.maximum(amount, wanted), at_least), limit)


def grid(lowest: int, highest: int, *, factor: float = 1.5) -> tuple[int, ...]:
    """Whole numbers from the lowest to the highest, each about `factor` times the one before."""
    steps = [lowest]
    while steps[-1] < highest:
        steps.append(min(highest, max(steps[-1] + 1, round(steps[-1] * factor))))
    return tuple(steps)
