"""Answers in TF Serving's JSON, in its layout and with its digits."""

import base64
import json
import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import regression_pb2

from serving.model_requests import invalid_argument
from serving.signature_plan import VALUE_FIELDS
from serving.signature_plan import dtype_name

_BYTES_SUFFIX = "_bytes"
_INDENT = "    "


def predictions(outputs: Mapping[str, tensor_pb2.TensorProto]) -> str:
    """The row form: one entry for each row, an object if there are several outputs."""
    texts = {name: _value_texts(name, tensor) for name, tensor in sorted(outputs.items())}
    shapes = {name: _shape(outputs[name]) for name in texts}
    batch_size = _batch_size(shapes)
    rows = []
    for row in range(batch_size):
        fields = []
        for name, values in texts.items():
            size = math.prod(shapes[name][1:])
            value = _one_line(values[row * size : (row + 1) * size], shapes[name][1:])
            fields.append(f"{json.dumps(name)}: {value}" if len(texts) > 1 else value)
        rows.append(fields)
    if len(texts) == 1:
        content = f"[{', '.join(row[0] for row in rows)}\n{_INDENT}]" if rows else "[]"
    else:
        content = _lines([_lines(row, "{}", depth=2) for row in rows], "[]", depth=1)
    return _lines([f'"predictions": {content}'], "{}", depth=0)


def outputs(tensors: Mapping[str, tensor_pb2.TensorProto]) -> str:
    """The column form: each output whole."""
    depth = 2 if len(tensors) > 1 else 1
    columns = {
        name: _many_lines(_value_texts(name, tensor), _shape(tensor), depth=depth)
        for name, tensor in sorted(tensors.items())
    }
    fields = [f"{json.dumps(name)}: {column}" if depth == 2 else column for name, column in columns.items()]
    return _lines([f'"outputs": {_lines(fields, "{}", depth=1) if depth == 2 else fields[0]}'], "{}", depth=0)


def classifications(result: classification_pb2.ClassificationResult) -> str:
    """A list of [label, score] for each example."""
    rows = []
    for row in result.classifications:
        pairs = [f"[{_string_text(entry.label)}, {_float_text(entry.score)}]" for entry in row.classes]
        rows.append(f"[{', '.join(pairs)}]")
    return _lines([f'"results": {_lines(rows, "[]", depth=1)}'], "{}", depth=0)


def regressions(result: regression_pb2.RegressionResult) -> str:
    """A number for each example."""
    values = ", ".join(_float_text(entry.value) for entry in result.regressions)
    return _lines([f'"results": [{values}]'], "{}", depth=0)


def status(response: get_model_status_pb2.GetModelStatusResponse) -> str:
    """The versions of a model."""
    return json_format.MessageToJson(response, including_default_value_fields=True, indent=1) + "\n"


def metadata(response: get_model_metadata_pb2.GetModelMetadataResponse) -> str:
    """The model spec and the signatures."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec, definitions = (
        json_format.MessageToJson(
            message, including_default_value_fields=True, preserving_proto_field_name=True, indent=1
        )
        for message in (response.model_spec, signatures)
    )
    return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {definitions}\n}}\n}}\n'


def error(text: str) -> str:
    """Why a request was refused."""
    # A part of the request that it shows may be half of a surrogate pair.
    return _lines([f'"error": {_string_text(text.encode(errors="replace"))}'], "{}", depth=0)


def _batch_size(shapes: Mapping[str, Sequence[int]]) -> int:
    batch_size = -1
    for name, shape in shapes.items():
        if not shape:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch_size not in (-1, shape[0]):
            sizes = f"{shape[0]} expecting: {batch_size}"
            raise invalid_argument(f"Tensor name: {name} has inconsistent batch size: {sizes}")
        batch_size = shape[0]
    return batch_size


def _value_texts(name: str, tensor: tensor_pb2.TensorProto) -> list[str]:
    """Every value of `tensor`, as JSON."""
    field = VALUE_FIELDS.get(tf.dtypes.as_dtype(tensor.dtype))
    if field is None:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype_name(tensor.dtype)}")
    writers: dict[str, Callable[[Any], str]] = {
        "float_val": _float_text,
        "double_val": _double_text,
        "string_val": _base64_text if name.endswith(_BYTES_SUFFIX) else _string_text,
        "bool_val": json.dumps,
    }
    write = writers.get(field, str)
    return [write(value) for value in getattr(tensor, field)]


def _float_text(value: float) -> str:
    return _decimal_text(value, exact=lambda text: np.float32(text) == np.float32(value), digits=9)


def _double_text(value: float) -> str:
    return _decimal_text(value, exact=lambda text: float(text) == value, digits=17)


def _decimal_text(value: float, *, exact: Callable[[str], bool], digits: int) -> str:
    """Six digits if they are `value`, else all of them; whole numbers end in `.0`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = f"{value:g}"
    if not exact(text):
        text = f"{value:.{digits}g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _string_text(value: bytes | str) -> str:
    # Bytes that are not UTF-8 are written as they are, as TF Serving does.
    text = value if isinstance(value, str) else value.decode(errors="surrogateescape")
    return json.dumps(text, ensure_ascii=False)


def _base64_text(value: bytes) -> str:
    return f'{{"b64": "{base64.b64encode(value).decode()}"}}'


def _shape(tensor: tensor_pb2.TensorProto) -> list[int]:
    return [dim.size for dim in tensor.tensor_shape.dim]


def _one_line(values: Sequence[str], shape: Sequence[int]) -> str:
    if not shape:
        return values[0]
    if len(shape) == 1:
        return f"[{', '.join(values)}]"
    return f"[{', '.join(_one_line(part, shape[1:]) for part in _parts(values, shape))}]"


def _many_lines(values: Sequence[str], shape: Sequence[int], *, depth: int) -> str:
    if not shape:
        return values[0]
    inner = [_many_lines(part, shape[1:], depth=depth + 1) for part in _parts(values, shape)]
    return _lines(inner, "[]", depth=depth)


def _parts(values: Sequence[str], shape: Sequence[int]) -> list[Sequence[str]]:
    size = math.prod(shape[1:])
    return [values[start * size : (start + 1) * size] for start in range(shape[0])]


def _lines(parts: Sequence[str], brackets: str, *, depth: int) -> str:
    """`parts` between `brackets`, each on a line of its own."""
    if not parts:
        return brackets
    indent = "\n" + _INDENT * (depth + 1)
    return f"{brackets[0]}{indent}{f',{indent}'.join(parts)}\n{_INDENT * depth}{brackets[1]}"
