"""Searches one query after the other inside one TensorFlow graph, as a model server's C++ calls it: without Python."""

from collections.abc import Callable

import tensorflow as tf


def each_alone(search: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function of queries [n, dim]; it gives a sum of all positions, so that no search is left out.

    Args:
        search: Positions [1, k] for queries [1, dim].
    """

    @tf.function(autograph=False)
    def loop(queries: tf.Tensor) -> tf.Tensor:
        def step(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return number + 1, total + tf.reduce_sum(search(queries[number : number + 1]))

        _, total = tf.while_loop(lambda number, _: number < tf.shape(queries)[0], step, (0, 0), parallel_iterations=1)
        return total

    return loop
