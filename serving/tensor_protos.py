"""TensorProtos of requests and answers to and from TensorFlow tensors, checked as TF Serving checks them."""

from collections.abc import Mapping

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.limits import check_tensor_size
from serving.model_requests import invalid_argument

_VALUE_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.string: "string_val",
    tf.bool: "bool_val",
}


def input_tensors(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]
) -> dict[str, tf.Tensor]:
    """The request's inputs as tensors; raises `RequestError` unless they are exactly what the signature takes."""
    _check_names(signature, inputs)
    return {
        name: _input_tensor(name, signature.inputs[name], inputs[name], position=position)
        for position, name in enumerate(sorted(signature.inputs))
    }


def output_names(signature: meta_graph_pb2.SignatureDef, output_filter: list[str]) -> list[str]:
    """The outputs to send, all without a filter; raises `RequestError` for an unknown or repeated name."""
    known = sorted(signature.outputs)
    for position, name in enumerate(output_filter):
        if name not in known:
            expected = f"Outputs expected to be in the set {{{','.join(known)}}}."
            raise invalid_argument(f"output tensor alias not found in signature: {name} {expected}")
        if name in output_filter[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
    return output_filter or known


def output_proto(tensor: tf.Tensor) -> tensor_pb2.TensorProto:
    """`tensor` with its values in the typed field (`float_val`, ...), TF Serving's default for Predict."""
    field = _VALUE_FIELDS.get(tensor.dtype)
    values = tensor.numpy()
    if field is None:
        return tf.make_tensor_proto(values)
    shape = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in tensor.shape])
    proto = tensor_pb2.TensorProto(dtype=tensor.dtype.as_datatype_enum, tensor_shape=shape)
    flat = values.ravel().tolist() if tensor.shape.rank else [values]
    getattr(proto, field).extend(flat)
    return proto


def _check_names(signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    sent, known = set(inputs), set(signature.inputs)
    if sent == known:
        return
    if len(sent) == len(known):
        alias = min(known - sent)
        raise invalid_argument(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {{{_joined(sent)}}}, or default input "
            "alias set: "
        )
    raise invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(known)} len({{{_joined(sent)}}}) != "
        f"len({{{_joined(known)}}}). Sent extra: {{{_joined(sent - known)}}}. "
        f"Missing but required: {{{_joined(known - sent)}}}."
    )


def _input_tensor(
    name: str, info: meta_graph_pb2.TensorInfo, proto: tensor_pb2.TensorProto, *, position: int
) -> tf.Tensor:
    if proto.dtype != info.dtype:
        wanted, got = _dtype_name(info.dtype), _dtype_name(proto.dtype)
        raise invalid_argument(f"Expects arg[{position}] to be {wanted} but {got} is provided (input {name})")
    check_tensor_size(name, proto)
    try:
        tensor = tf.io.parse_tensor(proto.SerializeToString(), tf.dtypes.as_dtype(info.dtype))
    except tf.errors.InvalidArgumentError:
        raise invalid_argument(f"tensor parsing error: {name}") from None
    wanted_shape = tf.TensorShape(info.tensor_shape)
    if not wanted_shape.is_compatible_with(tensor.shape):
        # TF Serving lets the first operation that minds report this, in words that depend on the operation.
        raise invalid_argument(f"Input {name} must have shape {wanted_shape}. Received: {tensor.shape}")
    return tensor


def _dtype_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name.replace("float32", "float")
    except TypeError:
        return f"DataType({number})"


def _joined(names: set[str]) -> str:
    return ",".join(sorted(names))
