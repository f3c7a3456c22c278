"""Users' features as the named, padded, batched tensors that a signature takes."""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple

from schemas.contract import HISTORY_PREFIX
from schemas.contract import MISSING_FLOAT
from schemas.contract import MISSING_STRING
from serving import tensor_values
from serving.tensor_values import Value
from serving.wire import DataType

FeatureValue = Value | Sequence[Value | None] | None
Features = Mapping[str, FeatureValue]
"""One user's named inputs: a number, a string or a list each; absent or None is missing."""

_MISSING: dict[DataType, Value] = {
    DataType.STRING: MISSING_STRING,
    DataType.FLOAT: MISSING_FLOAT,
    DataType.DOUBLE: MISSING_FLOAT,
}
_TYPES: dict[DataType, frozenset[type]] = {
    DataType.STRING: frozenset([str]),
    DataType.FLOAT: frozenset([int, float]),
    DataType.DOUBLE: frozenset([int, float]),
    DataType.INT32: frozenset([int]),
    DataType.INT64: frozenset([int]),
    DataType.BOOL: frozenset([int]),
}
_ANY_WIDTH = -1


class UnknownFeatureError(ValueError):
    """A feature that the signature does not take."""


class InputSpec(NamedTuple):
    """What a signature wants of an input: its type, and its width if it is a list (-1: any)."""

    dtype: DataType
    width: int | None


def input_specs(signature: Any) -> dict[str, InputSpec]:
    """The named inputs of a `SignatureDef`, `[batch]` or `[batch, n]` each.

    Raises:
        ValueError: An input of another rank or type.
    """
    specs = {}
    for name, info in signature.inputs.items():
        sizes = [dim.size for dim in info.tensor_shape.dim]
        if info.tensor_shape.unknown_rank or len(sizes) not in (1, 2):
            raise ValueError(f"input {name} must be [batch] or [batch, n]. Received: {sizes or 'unknown rank'}")
        specs[name] = InputSpec(DataType(info.dtype), sizes[1] if len(sizes) == 2 else None)
    return specs


def read_features(path: Path) -> list[Features]:
    """The users of a JSON file: an object of named inputs, or a list of them that is not empty.

    Raises:
        ValueError: The file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the features of users: {error}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    users = content if isinstance(content, list) else [content]
    if not users or not all(isinstance(user, dict) for user in users):
        raise ValueError(f"{path} must hold an object of named inputs, or a list of them that is not empty")
    return users


def encode_features(
    features: Sequence[Features], specs: Mapping[str, InputSpec], *, ignore_unknown: bool
) -> dict[str, Any]:
    """One TensorProto per input, with a row per user; missing values and short lists are padded.

    Histories are aligned lists, so that all of them get the width of the longest.

    Raises:
        UnknownFeatureError: A feature that `specs` lacks, unless `ignore_unknown`.
        ValueError: A value of the wrong type, or a list that is too long for its input.
    """
    if not ignore_unknown:
        _refuse_unknown(features, specs)
    columns = {name: [_as_list(name, user.get(name), spec) for user in features] for name, spec in specs.items()}
    history_width = max((_width(rows) for name, rows in columns.items() if _is_history(name, specs[name])), default=1)
    tensors = {}
    for name, rows in columns.items():
        spec = specs[name]
        width = history_width if _is_history(name, spec) else _width(rows)
        tensors[name] = _encode(name, rows, spec, width=width)
    return tensors


def _refuse_unknown(features: Sequence[Features], specs: Mapping[str, InputSpec]) -> None:
    unknown = sorted({name for user in features for name in user} - set(specs))
    if unknown:
        raise UnknownFeatureError(
            f"unknown features: {', '.join(unknown)}; the served model knows: {', '.join(sorted(specs))}"
        )


def _is_history(name: str, spec: InputSpec) -> bool:
    return spec.width == _ANY_WIDTH and name.startswith(HISTORY_PREFIX)


def _width(rows: Sequence[Sequence[Value]]) -> int:
    # At least one column: a model need not cope with lists that are empty for everybody.
    return max(1, *(len(row) for row in rows))


def _as_list(name: str, value: FeatureValue, spec: InputSpec) -> list[Value]:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if spec.width is None and is_list:
        raise ValueError(f"feature {name} must be one value, not a list. Received: {value!r}")
    if spec.width is not None and not is_list:
        if value is not None:
            raise ValueError(f"feature {name} must be a list. Received: {value!r}")
        return []
    elements: Sequence[Any] = value if is_list else [value]  # type: ignore[assignment]
    if _TYPES[spec.dtype].issuperset(map(type, elements)):
        # The usual case, several times as fast: histories of a batch hold tens of thousands of values.
        return list(elements)
    return [_checked(name, element, spec.dtype) for element in elements]


def _checked(name: str, value: Any, dtype: DataType) -> Any:
    if value is None:
        if dtype not in _MISSING:
            raise ValueError(f"feature {name} is of type {dtype.name}, which has no missing value; send one")
        return _MISSING[dtype]
    wanted = _TYPES[dtype]
    if not isinstance(value, tuple(wanted)):
        kinds = " or ".join(sorted((kind.__name__ for kind in wanted), key=len))
        raise ValueError(f"feature {name} must be {kinds}. Received: {value!r} of type {type(value).__name__}")
    return value


def _encode(name: str, rows: Sequence[list[Value]], spec: InputSpec, *, width: int) -> Any:
    if spec.width is None:
        return tensor_values.encode([row[0] for row in rows], dtype=spec.dtype, shape=[len(rows)])
    if spec.width != _ANY_WIDTH:
        if width > spec.width:
            raise ValueError(f"feature {name} has at most {spec.width} values. Received: {width}")
        width = spec.width
    missing = _checked(name, None, spec.dtype)
    padded = [value for row in rows for value in row + [missing] * (width - len(row))]
    return tensor_values.encode(padded, dtype=spec.dtype, shape=[len(rows), width])
