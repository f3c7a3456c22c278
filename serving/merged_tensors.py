"""Arrays of several requests as one batch, and its outputs as those of each request. Imports TensorFlow."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from schemas.contract import MISSING_FLOAT
from schemas.contract import MISSING_STRING

Inputs = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]

_MISSING = {tf.string: MISSING_STRING.encode(), tf.float32: MISSING_FLOAT, tf.float64: MISSING_FLOAT}
_ANY_SIZE = -1


def has_batch_dimension(definition: meta_graph_pb2.SignatureDef) -> bool:
    """Whether dimension 0 of every input is free, and that of every output unless its rank is known only after a run."""
    inputs = [info.tensor_shape for info in definition.inputs.values()]
    outputs = [info.tensor_shape for info in definition.outputs.values() if not info.tensor_shape.unknown_rank]
    are_free = [bool(shape.dim) and shape.dim[0].size == _ANY_SIZE for shape in [*inputs, *outputs]]
    return bool(inputs) and all(are_free)


def paddable_dims(info: meta_graph_pb2.TensorInfo) -> frozenset[int]:
    """Dimensions of an input that may differ between merged requests: free ones of a type that has a missing value."""
    if tf.dtypes.as_dtype(info.dtype) not in _MISSING:
        return frozenset()
    return frozenset(dim for dim, size in enumerate(info.tensor_shape.dim) if dim and size.size == _ANY_SIZE)


def merge(arrays: Sequence[np.ndarray], *, num_padding_rows: int) -> np.ndarray:
    """The arrays one below the other, then copies of the last one's first row.

    Where they differ in width, or in a further dimension, the shorter ones are padded with the missing value.
    """
    largest = [max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)]
    padded = [_pad(array, largest) for array in arrays]
    return np.concatenate([*padded, *[padded[-1][:1]] * num_padding_rows])


def split(outputs: Outputs, num_rows: Sequence[int]) -> list[Outputs] | None:
    """The outputs of each request, `num_rows` of each; None if an output does not have one row per input row."""
    if any(output.ndim == 0 or len(output) != sum(num_rows) for output in outputs.values()):
        return None
    ends = np.cumsum(num_rows)
    parts = {name: np.split(output, ends[:-1]) for name, output in outputs.items()}
    return [{name: part[position] for name, part in parts.items()} for position in range(len(num_rows))]


def _pad(array: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    if array.shape[1:] == tuple(sizes):
        return array
    padded = np.full([len(array), *sizes], _MISSING[tf.dtypes.as_dtype(array.dtype)], array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded
