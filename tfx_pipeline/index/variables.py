"""Variables that are as large as the catalogue, without a second copy of them."""

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


def rows_of(variable: tf.Variable, positions: tf.Tensor) -> tf.Tensor:
    """Rows at positions, without a copy of the variable.

    A gather on the variable itself puts it into TensorFlow's copy-on-read mode: every later read, such as that of all inner
    products, would copy it whole.
    """
    return tf.gather(variable.read_value(), positions)
