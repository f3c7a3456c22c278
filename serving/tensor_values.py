"""TensorProtos to and from plain Python values, without numpy."""

import math
import struct
from collections.abc import Sequence
from operator import methodcaller
from typing import Any
from typing import NamedTuple

from serving import wire
from serving.wire import DataType

Value = str | int | float

_FIELDS = {
    DataType.FLOAT: "float_val",
    DataType.DOUBLE: "double_val",
    DataType.INT32: "int_val",
    DataType.INT64: "int64_val",
    DataType.BOOL: "bool_val",
    DataType.STRING: "string_val",
}
_CONTENT_FORMATS = {
    DataType.FLOAT: "f",
    DataType.DOUBLE: "d",
    DataType.INT32: "i",
    DataType.INT64: "q",
    DataType.BOOL: "?",
}


class Tensor(NamedTuple):
    """Values in row-major order, and the size of every dimension."""

    values: list[Any]
    shape: tuple[int, ...]

    def rows(self) -> list[list[Any]]:
        """The values of a tensor [batch, n], row by row."""
        num_rows, width = self.shape
        return [self.values[row * width : (row + 1) * width] for row in range(num_rows)]


def encode(values: Sequence[Value], *, dtype: DataType, shape: Sequence[int]) -> Any:
    """A TensorProto of `values` in row-major order; strings are sent as UTF-8."""
    proto = wire.message_class("TensorProto")(dtype=dtype)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS[dtype]).extend(map(methodcaller("encode"), values) if dtype is DataType.STRING else values)
    return proto


def decode(proto: Any) -> Tensor:
    """The values of a TensorProto, strings as bytes, whether sent as typed values or as content.

    Raises:
        ValueError: A type that no retriever returns, or fewer values than the shape needs.
    """
    dtype = DataType(proto.dtype)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    size = math.prod(shape)
    if proto.tensor_content:
        return Tensor(list(struct.unpack(f"<{size}{_CONTENT_FORMATS[dtype]}", proto.tensor_content)), shape)
    values = list(getattr(proto, _FIELDS[dtype]))
    if values and len(values) < size:
        # TensorProto's compression: the last value stands for all that follow.
        values += values[-1:] * (size - len(values))
    if len(values) != size:
        raise ValueError(f"a tensor of shape {shape} needs {size} values. Received: {len(values)}")
    return Tensor(values, shape)
