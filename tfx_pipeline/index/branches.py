"""Branches of `tf.cond` that are seldom taken."""

from collections.abc import Callable

import tensorflow as tf


def as_one_node(branch: Callable) -> Callable:
    """The branch as a function that stays one: where it is not taken, TensorFlow passes over one node instead of all of its own."""
    return tf.function(branch, autograph=False, experimental_attributes={"_noinline": True})
