"""TensorProtos of requests and answers to and from arrays, checked as TF Serving checks them. Imports TensorFlow."""

import math
import sys
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import types_pb2

from serving.limits import check_tensor_size
from serving.model_requests import RequestError
from serving.model_requests import invalid_argument
from serving.signature_plan import VALUE_FIELDS
from serving.signature_plan import InputPlan
from serving.signature_plan import SignaturePlan
from serving.signature_plan import dtype_name

# What numpy holds in the same bytes as TensorFlow, and whose values a TensorProto holds one by one.
_PLAIN = frozenset({tf.float32, tf.float64, tf.int32, tf.int64})
# Above this, TensorFlow's own parser is faster than a loop over the values of a field.
_MAX_VALUES_IN_PYTHON = 1024
# Keys on the wire of packed fields: their values are then one copy of the array's bytes.
_PACKED_KEYS = {np.dtype("f4"): b"\x2a", np.dtype("f8"): b"\x32"} if sys.byteorder == "little" else {}
# Number of the type and field of a TensorProto, by type of an array.
_FIELDS = {np.dtype(dtype.as_numpy_dtype): (dtype.as_datatype_enum, field) for dtype, field in VALUE_FIELDS.items()}
_NO_FIELD = (types_pb2.DT_INVALID, None)


def input_arrays(plan: SignaturePlan, inputs: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, np.ndarray]:
    """The request's inputs as arrays; raises `RequestError` unless they are exactly what the signature takes."""
    if plan.input_names != set(inputs):
        _check_names(plan, set(inputs))
    return {
        expected.name: _input_array(expected, inputs.get(expected.name, expected.default)) for expected in plan.inputs
    }


def output_names(plan: SignaturePlan, output_filter: Sequence[str]) -> Sequence[str]:
    """The outputs to send, all without a filter; raises `RequestError` for an unknown or repeated name."""
    for position, name in enumerate(output_filter):
        if name not in plan.output_names:
            expected = f"Outputs expected to be in the set {{{','.join(plan.output_names)}}}."
            raise invalid_argument(f"output tensor alias not found in signature: {name} {expected}")
        if name in output_filter[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
    return output_filter or plan.output_names


def write_output(proto: tensor_pb2.TensorProto, values: np.ndarray) -> None:
    """Writes `values` into an empty `proto`, in the typed field (`float_val`, ...) as TF Serving does."""
    dtype = values.dtype
    number, field = _FIELDS.get(dtype, _NO_FIELD)
    if field is None:
        proto.CopyFrom(tf.make_tensor_proto(values))
        return
    proto.dtype = number
    proto.tensor_shape.SetInParent()
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    key = _PACKED_KEYS.get(dtype)
    if key:
        content = values.tobytes()
        proto.MergeFromString(b"".join((key, _varint(len(content)), content)))
    else:
        getattr(proto, field).extend(values.ravel().tolist())


def _check_names(plan: SignaturePlan, sent: set[str]) -> None:
    known = plan.input_names
    defaults = {expected.name for expected in plan.inputs if expected.default is not None}
    if len(sent) > len(known) or (len(sent) < len(known) and not defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{_joined(sent)}}}) != "
            f"len({{{_joined(known)}}}). Sent extra: {{{_joined(sent - known)}}}. "
            f"Missing but required: {{{_joined(known - sent)}}}."
        )
    for expected in plan.inputs:
        if expected.name not in sent | defaults:
            raise invalid_argument(
                f"Signature input alias: {expected.name}(feed name: {expected.feed_name}) not found in request and no "
                f"default value provided. Inputs expected to be in the request {{{_joined(sent)}}}, or default input "
                f"alias set: {_joined(defaults)}"
            )
    if sent - known:
        used = _joined(sent & known)
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {used}, request input: {_joined(sent)}"
        )


def _input_array(expected: InputPlan, proto: tensor_pb2.TensorProto) -> np.ndarray:
    if proto.dtype != expected.dtype_number:
        if proto.dtype == types_pb2.DT_INVALID:
            raise _parsing_error(expected)
        wanted, got = dtype_name(expected.dtype_number), dtype_name(proto.dtype)
        text = f"Expects arg[{expected.position}] to be {wanted} but {got} is provided (input {expected.name})"
        raise invalid_argument(text)
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    array = _array(expected, proto, sizes)
    if array is None or not array.size:
        check_tensor_size(expected.name, proto)
    parsed = _parse(expected, proto) if array is None else array
    if expected.sizes is None or _fits(expected.sizes, sizes):
        return _as_array(expected, parsed)
    # TF Serving lets the first operation that minds report this, in words that depend on the operation.
    raise invalid_argument(f"Input {expected.name} must have shape {expected.shape}. Received: {tuple(sizes)}")


def _array(expected: InputPlan, proto: tensor_pb2.TensorProto, sizes: Sequence[int]) -> np.ndarray | None:
    """The values of a proto that is what most are; None for all others, which TensorFlow parses."""
    is_plain = expected.dtype in _PLAIN
    if not (is_plain or expected.dtype is tf.string) or proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        return None
    size = math.prod(sizes)
    values = getattr(proto, expected.value_field or "")
    if is_plain and len(proto.tensor_content) == size * expected.numpy_dtype.itemsize > 0:
        array = np.frombuffer(proto.tensor_content, expected.numpy_dtype)
    elif proto.tensor_content or len(values) != size or (is_plain and size > _MAX_VALUES_IN_PYTHON):
        return None
    else:
        array = np.fromiter(values, expected.numpy_dtype, size) if is_plain else np.array(values, object)
    try:
        return array.reshape(sizes)
    except ValueError:  # more dimensions than numpy has, or one that is too large beside one that is zero
        return None


def _parse(expected: InputPlan, proto: tensor_pb2.TensorProto) -> tf.Tensor:
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), expected.dtype)
    except tf.errors.InvalidArgumentError:
        raise _parsing_error(expected) from None


def _as_array(expected: InputPlan, values: np.ndarray | tf.Tensor) -> np.ndarray:
    try:
        return np.asarray(values, expected.numpy_dtype)
    except tf.errors.InvalidArgumentError:  # more dimensions than numpy has
        raise _parsing_error(expected) from None


def _parsing_error(expected: InputPlan) -> RequestError:
    return invalid_argument(f"tensor parsing error: {expected.name}")


def _fits(wanted: Sequence[int | None], sizes: Sequence[int]) -> bool:
    return len(wanted) == len(sizes) and all(
        want is None or want == size for want, size in zip(wanted, sizes, strict=True)
    )


def _varint(number: int) -> bytes:
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _joined(names: set[str] | frozenset[str]) -> str:
    return ",".join(sorted(names))
