"""`tiles.count_above` by TensorFlow, for machines with a GPU."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

_ROWS = 1024
_COLUMNS = 65_536  # 256 MB of float32 scores


def has_gpu() -> bool:
    """Whether TensorFlow sees one."""
    return bool(tf.config.list_physical_devices("GPU"))


def count_above(queries: np.ndarray, items: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """As `tiles.count_above`; each tile of items is brought to the device once."""
    counts = np.zeros(limits.shape, np.int64)
    asked = [slice(start, start + _ROWS) for start in range(0, len(queries), _ROWS)]
    rows = [(tf.constant(queries[rows]), tf.constant(limits[rows])) for rows in asked]
    with _whole_float32():
        for first in range(0, len(items), _COLUMNS):
            tile = tf.constant(items[first : first + _COLUMNS])
            for place, (vectors, bounds) in zip(asked, rows, strict=True):
                counts[place] += _count(vectors, tile, bounds).numpy()
    return counts


@tf.function(reduce_retracing=True, autograph=False)
def _count(queries: tf.Tensor, items: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
    scores = tf.matmul(queries, items, transpose_b=True)
    counts = [tf.math.count_nonzero(scores > bound[:, tf.newaxis], axis=1) for bound in tf.unstack(limits, axis=1)]
    return tf.stack(counts, axis=1)


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """TensorFloat-32, the default of newer GPUs, has 10 bits: it would make ties and ranks of its own."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
