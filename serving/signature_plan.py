"""What answering a request needs to know of a signature, worked out once when its model is loaded. Imports TensorFlow."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

VALUE_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int16: "int_val",
    tf.int8: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.string: "string_val",
    tf.bool: "bool_val",
}
_NAMES_IN_C = {"float16": "half", "float32": "float", "float64": "double"}


class InputPlan(NamedTuple):
    """An input of a signature.

    Attributes:
        name: Under which requests send it.
        feed_name: Of the tensor in the graph.
        position: Among the sorted names.
        dtype: Its type.
        dtype_number: The same as a `DataType`.
        numpy_dtype: The same for numpy; `object` for strings.
        value_field: Of a TensorProto that holds values of this type; None where none holds them as they are.
        shape: As the signature has it.
        sizes: Of its dimensions, None for a free one; None if the rank is free.
        default: To take if a request does not send it; None where it must be sent.
    """

    name: str
    feed_name: str
    position: int
    dtype: tf.DType
    dtype_number: int
    numpy_dtype: np.dtype
    value_field: str | None
    shape: tf.TensorShape
    sizes: tuple[int | None, ...] | None
    default: tensor_pb2.TensorProto | None


class SignaturePlan:
    """A signature: its inputs by sorted name, its sorted output names, their numpy types, and its definition."""

    def __init__(self, definition: meta_graph_pb2.SignatureDef) -> None:
        self.definition = definition
        self.method_name = definition.method_name
        self.inputs = tuple(
            _input_plan(name, definition, position=position) for position, name in enumerate(sorted(definition.inputs))
        )
        self.input_names = frozenset(definition.inputs)
        self.output_names = tuple(sorted(definition.outputs))
        self.output_dtypes = {
            name: np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype) for name, info in definition.outputs.items()
        }


def dtype_name(number: int) -> str:
    """How TensorFlow's errors name the `DataType` `number`: `float`, `int32`, `string`."""
    try:
        name = tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"DataType({number})"
    return _NAMES_IN_C.get(name, name)


def _input_plan(name: str, definition: meta_graph_pb2.SignatureDef, *, position: int) -> InputPlan:
    info = definition.inputs[name]
    dtype = tf.dtypes.as_dtype(info.dtype)
    shape = tf.TensorShape(info.tensor_shape)
    return InputPlan(
        name=name,
        feed_name=info.name,
        position=position,
        dtype=dtype,
        dtype_number=info.dtype,
        numpy_dtype=np.dtype(dtype.as_numpy_dtype),
        value_field=VALUE_FIELDS.get(dtype),
        shape=shape,
        sizes=None if shape.rank is None else tuple(shape.as_list()),
        default=definition.defaults.get(name),
    )
