"""Predict requests from TF Serving's JSON: row form (`instances`) and column form (`inputs`)."""

import json
from collections.abc import Sequence
from typing import Any

from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.json_values import as_text
from serving.json_values import encode_text
from serving.json_values import is_base64
from serving.json_values import value_reader
from serving.model_requests import RequestError
from serving.model_requests import invalid_argument
from serving.signature_plan import InputPlan
from serving.signature_plan import SignaturePlan
from serving.signature_plan import dtype_name

_WORDS = {"Expecting value": "Invalid value."}
"""TF Serving's words for what Python's parser says."""


def parse(body: bytes) -> dict[str, Any]:
    """The object that a request's body holds; `NaN`, `Infinity` and `-Infinity` are numbers.

    Raises:
        RequestError: INVALID_ARGUMENT: it is not JSON, or not an object.
        RecursionError: It is nested too deeply.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        content = json.loads(body.decode())
    except json.JSONDecodeError as error:
        text = _WORDS.get(error.msg, error.msg)
        raise invalid_argument(f"JSON Parse error: {text} at offset: {error.pos}") from None
    except ValueError as error:  # not UTF-8, or a number of thousands of digits
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if not isinstance(content, dict):
        raise invalid_argument(f"JSON Value: {as_text(content)} Is not object")
    return content


def signature_name(content: dict[str, Any]) -> str:
    """The signature that a request names, "" for the default; raises `RequestError` unless it is a string."""
    name = content.get("signature_name", "")
    if not isinstance(name, str):
        text = "not formatted correctly. 'signature_name' key must be a string value."
        raise invalid_argument(f"JSON Value: {as_text(content)} {text}")
    encode_text(name)  # a message could not hold it
    return name


def write_inputs(request: predict_pb2.PredictRequest, content: dict[str, Any], plan: SignaturePlan) -> bool:
    """Writes the tensors of `content` into `request`; returns whether they came in row form. Raises `RequestError`."""
    if not plan.inputs:
        name = request.model_spec.signature_name or "DEFAULT"
        raise invalid_argument(f"Failed to get input map for signature: {name}")
    is_row_form = "instances" in content
    if not is_row_form and "inputs" not in content:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    if is_row_form and "inputs" in content:
        text = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid_argument(f"JSON Value: {as_text(content)} {text}")
    if not is_row_form:
        _write_columns(request, content["inputs"], plan)
        return False
    if not isinstance(content["instances"], list):
        raise invalid_argument(f"JSON Value: {as_text(content)} Excepting 'instances' to be an list/array")
    if not content["instances"]:
        raise invalid_argument(f"JSON Value: {as_text(content)} No values in 'instances' array")
    _write_rows(request, content["instances"], plan)
    return True


class _JsonTensor:
    """The values of an input, gathered from JSON."""

    def __init__(self, expected: InputPlan) -> None:
        self._expected = expected
        self._read = value_reader(dtype_name(expected.dtype_number))
        self._values: list[Any] = []
        self.row_shape: tuple[int, ...] | None = None

    def add(self, value: Any) -> tuple[int, ...]:
        """Takes the values of a list of lists, or a single one; returns their shape."""
        shape = []
        inner = value
        while isinstance(inner, list):
            shape.append(len(inner))
            if not inner:
                break
            inner = inner[0]
        self._gather(value, shape, level=0)
        return tuple(shape)

    def add_row(self, value: Any) -> None:
        """Takes one more row, which must have the shape of the first."""
        size_before = len(self._values)
        shape = self.add(value)
        if self.row_shape is None:
            self.row_shape = shape
            self._row_size = len(self._values) - size_before
        elif len(self._values) - size_before != self._row_size:
            sizes = f"{self._row_size} but got: {len(self._values) - size_before}"
            raise invalid_argument(f"Expecting tensor size: {sizes}")
        elif shape != self.row_shape:
            raise invalid_argument(f"Expecting shape {_shape_text(self.row_shape)} but got: {_shape_text(shape)}")

    def write(self, proto: tensor_pb2.TensorProto, shape: Sequence[int]) -> None:
        """Writes what was taken as a tensor of `shape`."""
        proto.dtype = self._expected.dtype_number
        proto.tensor_shape.SetInParent()
        for size in shape:
            proto.tensor_shape.dim.add(size=size)
        if self._values:  # else there may be no field for them
            getattr(proto, self._expected.value_field or "").extend(self._values)

    def _gather(self, value: Any, shape: Sequence[int], *, level: int) -> None:
        rank = len(shape)
        if not isinstance(value, list):
            if level != rank:
                text = f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}"
                raise invalid_argument(f"JSON Value: {as_text(value)} {text}")
            self._values.append(self._read(value))
            return
        if level >= rank:
            raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
        if len(value) != shape[level]:
            text = f"{len(value)} at level: {level} expected size: {shape[level]}"
            raise invalid_argument(f"Encountered list at unexpected size: {text}")
        for element in value:
            self._gather(element, shape, level=level + 1)


def _write_columns(request: predict_pb2.PredictRequest, columns: Any, plan: SignaturePlan) -> None:
    if not _is_object(columns):
        if len(plan.inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        columns = {plan.inputs[0].name: columns}
    for expected in plan.inputs:
        if expected.name not in columns:
            raise invalid_argument(f"Missing named input: {expected.name} in 'inputs' object.")
        tensor = _JsonTensor(expected)
        shape = tensor.add(columns[expected.name])
        tensor.write(request.inputs[expected.name], shape)


def _write_rows(request: predict_pb2.PredictRequest, instances: Sequence[Any], plan: SignaturePlan) -> None:
    if not isinstance(instances[0], dict) and len(plan.inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    tensors = {expected.name: _JsonTensor(expected) for expected in plan.inputs}
    are_objects = _is_object(instances[0])
    for position, instance in enumerate(instances):
        if _is_object(instance) != are_objects:
            wanted, got = ("object", "list") if are_objects else ("value/list", "object")
            raise invalid_argument(f"Expecting {wanted} but got {got} at item {position} of input list")
        if are_objects:
            _add_named(tensors, instance, position=position)
        else:
            _add_value(tensors, plan.inputs[0].name, instance, where=str(position))
    for name, tensor in tensors.items():
        tensor.write(request.inputs[name], (len(instances), *(tensor.row_shape or ())))


def _add_named(tensors: dict[str, _JsonTensor], instance: dict[str, Any], *, position: int) -> None:
    for name, value in instance.items():
        _add_value(tensors, name, value, where=f"{position} key: {name}")
    if instance.keys() != tensors.keys():
        raise invalid_argument(
            f"Failed to process element: {position} of 'instances' list. JSON object: {as_text(instance)} "
            f"keys must be equal to: {','.join(tensors)}"
        )


def _add_value(tensors: dict[str, _JsonTensor], name: str, value: Any, *, where: str) -> None:
    try:
        if name not in tensors:
            raise invalid_argument(f"JSON object: does not have named input: {name}")
        tensors[name].add_row(value)
    except RequestError as error:
        text = f"Failed to process element: {where} of 'instances' list. Error: {error.code.name}: {error.text}"
        raise invalid_argument(text) from None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _shape_text(shape: Sequence[int]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
