"""Classify and Regress requests from TF Serving's JSON: `examples`, and a `context` that all of them share."""

from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import input_pb2

from serving.json_values import as_text
from serving.json_values import check_decimal
from serving.json_values import decode_base64
from serving.json_values import encode_text
from serving.json_values import is_base64
from serving.json_values import type_name
from serving.model_requests import invalid_argument

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def write_examples(written: input_pb2.Input, content: dict[str, Any]) -> None:
    """Writes the examples of `content`; raises `RequestError`."""
    examples = written.example_list
    if "context" in content:
        examples = written.example_list_with_context
        examples.context.CopyFrom(_example(content["context"]))
    if "examples" not in content:
        text = "When method is classify, key 'examples' is expected and was not found"
        raise invalid_argument(f"JSON Value: {as_text(content)} {text}")
    if not isinstance(content["examples"], list):
        raise invalid_argument(f"JSON Value: {as_text(content)} Expecting 'examples' value to be an list/array")
    if not content["examples"]:
        raise invalid_argument(f"JSON Value: {as_text(content)} 'examples' value is an empty array")
    for value in content["examples"]:
        examples.examples.append(_example(value))


def _example(value: Any) -> tf.train.Example:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        encode_text(name)
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, element, name=name)
    return example


def _add(feature: tf.train.Feature, value: Any, *, name: str) -> None:
    kind, converted = _converted(value, name=name)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    getattr(feature, kind).value.append(converted)


def _converted(value: Any, *, name: str) -> tuple[str, bytes | float | int]:
    """The field of a feature that holds such a value, and the value for it."""
    if isinstance(value, str):
        return "bytes_list", encode_text(value)
    if is_base64(value):
        return "bytes_list", decode_base64(value)
    if isinstance(value, float):
        check_decimal(value, "float")
        return "float_list", value
    if not isinstance(value, int):
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    if not -(2**63) <= value < 2**63:
        raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    return "int64_list", int(value)
