"""Variables that are as large as the catalogue, without a second copy of it."""

import numpy as np
import tensorflow as tf

_ALIGNED_BYTES = 64  # what TensorFlow asks of a tensor's memory; NumPy's files keep to it


def shared_variable(array: np.ndarray, *, name: str) -> tf.Variable:
    """A variable on the array's own memory, such as a mapped file's; a copy where TensorFlow cannot use that.

    `tf.Variable(array)` copies twice before it holds anything. The array must not be written to afterwards.

    Args:
        array: [items, ...] numbers.
        name: Of the variable.
    """
    is_usable = array.flags.writeable and array.flags.c_contiguous and array.ctypes.data % _ALIGNED_BYTES == 0
    value = tf.experimental.dlpack.from_dlpack(array.__dlpack__()) if is_usable else array
    return tf.Variable(value, trainable=False, name=name)
