"""Single values of a tensor from JSON, checked and refused as TF Serving does."""

import base64
import binascii
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import grpc

from serving.model_requests import RequestError
from serving.model_requests import invalid_argument

_MAX_SHOWN = 1000
_MAX_FLOAT = 3.4028234663852886e38
"""Largest float32."""
_INTEGER_LIMITS = {
    "int8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
"""What TF Serving takes: it checks the smaller types as int32."""


def as_text(value: Any) -> str:
    """A JSON value as an error shows it, cut if it is long."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def type_name(value: Any) -> str:
    """The name of a JSON value's type in TF Serving's errors."""
    if value is None or isinstance(value, bool):
        return {None: "Null", False: "False", True: "True"}[value]
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def is_base64(value: Any) -> bool:
    """Whether a JSON value is `{"b64": "..."}`, which stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value: Any) -> bytes:
    """The bytes of `{"b64": "..."}`; raises `RequestError` if it is something else."""
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {as_text(value)} not formatted correctly for base64 data")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise invalid_argument("Unable to base64 decode") from None


def encode_text(text: str) -> bytes:
    """`text` in UTF-8; raises `RequestError` for one half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid_argument("JSON Parse error: The surrogate pair in string is invalid.") from None


def value_reader(dtype: str) -> Callable[[Any], Any]:
    """What turns a JSON value that is no list into one of a tensor of `dtype` (TensorFlow's C++ name), or refuses it."""
    if dtype == "string":
        return _read_string
    if dtype in ("float", "double"):
        return _float_reader(dtype)
    if dtype in _INTEGER_LIMITS:
        return _integer_reader(dtype)
    return _read_boolean if dtype == "bool" else _refuser(dtype)


def check_decimal(value: int | float, dtype: str) -> None:
    """Raises `RequestError` if `dtype`, float or double, cannot hold `value`; not a number and infinite it can."""
    largest_integer, largest = (2**24 - 1, _MAX_FLOAT) if dtype == "float" else (2**53 - 1, sys.float_info.max)
    if isinstance(value, float) and not math.isfinite(value):
        return
    if abs(value) > (largest_integer if isinstance(value, int) else largest):
        raise invalid_argument(f"Cannot convert JSON value: {as_text(value)} to {dtype} without loss of precision.")


def _read_string(value: Any) -> bytes:
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, dict):
        return decode_base64(value)
    raise _type_error(value, "string")


def _read_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _type_error(value, "bool")
    return value


def _float_reader(dtype: str) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _type_error(value, dtype)
        check_decimal(value, dtype)
        return value

    return read


def _integer_reader(dtype: str) -> Callable[[Any], int]:
    least, most = _INTEGER_LIMITS[dtype]

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _type_error(value, dtype)
        return value

    return read


def _refuser(dtype: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        text = f"Conversion of JSON Value: {as_text(value)} to type: {dtype}"
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, text)

    return read


def _type_error(value: Any, dtype: str) -> RequestError:
    text = f"JSON Value: {as_text(value)} Type: {type_name(value)} is not of expected type: {dtype}"
    return invalid_argument(text)
