"""TF Serving's gRPC messages without TensorFlow: the same bytes under another package name.

Importing `tensorflow-serving-api` imports TensorFlow, which takes a client seconds and gigabytes. These messages have
the originals' field numbers and live in a descriptor pool of their own, so both can be in one process.
Only what a client of a retriever needs is declared; other fields are kept as unknown fields.
"""

import enum
import functools
from typing import Any
from typing import NamedTuple

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

_PACKAGE = "conversion_retrieval.wire"


class DataType(enum.IntEnum):
    """The tensor types that a retriever uses, numbered as `tensorflow.DataType`."""

    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    STRING = 7
    INT64 = 9
    BOOL = 10


class _Field(NamedTuple):
    """A field; `kind` is a scalar type or a message above it; `[]` before it repeats it, `map:` maps strings to it."""

    name: str
    number: int
    kind: str


# Enumerations are declared as the int32 that they are on the wire.
_MESSAGES: dict[str, tuple[_Field, ...]] = {
    "Int64Value": (_Field("value", 1, "int64"),),
    "Any": (_Field("type_url", 1, "string"), _Field("value", 2, "bytes")),
    "Dim": (_Field("size", 1, "int64"), _Field("name", 2, "string")),
    "TensorShapeProto": (_Field("dim", 2, "[]Dim"), _Field("unknown_rank", 3, "bool")),
    "TensorProto": (
        _Field("dtype", 1, "int32"),
        _Field("tensor_shape", 2, "TensorShapeProto"),
        _Field("version_number", 3, "int32"),
        _Field("tensor_content", 4, "bytes"),
        _Field("float_val", 5, "[]float"),
        _Field("double_val", 6, "[]double"),
        _Field("int_val", 7, "[]int32"),
        _Field("string_val", 8, "[]bytes"),
        _Field("int64_val", 10, "[]int64"),
        _Field("bool_val", 11, "[]bool"),
    ),
    "TensorInfo": (
        _Field("name", 1, "string"),
        _Field("dtype", 2, "int32"),
        _Field("tensor_shape", 3, "TensorShapeProto"),
    ),
    "SignatureDef": (
        _Field("inputs", 1, "map:TensorInfo"),
        _Field("outputs", 2, "map:TensorInfo"),
        _Field("method_name", 3, "string"),
    ),
    "SignatureDefMap": (_Field("signature_def", 1, "map:SignatureDef"),),
    "ModelSpec": (
        _Field("name", 1, "string"),
        _Field("version", 2, "Int64Value"),
        _Field("signature_name", 3, "string"),
        # One of this and `version` in the original; the bytes are the same as long as a sender sets only one.
        _Field("version_label", 4, "string"),
    ),
    "PredictRequest": (
        _Field("model_spec", 1, "ModelSpec"),
        _Field("inputs", 2, "map:TensorProto"),
        _Field("output_filter", 3, "[]string"),
    ),
    "PredictResponse": (_Field("outputs", 1, "map:TensorProto"), _Field("model_spec", 2, "ModelSpec")),
    "GetModelMetadataRequest": (_Field("model_spec", 1, "ModelSpec"), _Field("metadata_field", 2, "[]string")),
    "GetModelMetadataResponse": (_Field("model_spec", 1, "ModelSpec"), _Field("metadata", 2, "map:Any")),
    "GetModelStatusRequest": (_Field("model_spec", 1, "ModelSpec"),),
    "StatusProto": (_Field("error_code", 1, "int32"), _Field("error_message", 2, "string")),
    "ModelVersionStatus": (
        _Field("version", 1, "int64"),
        _Field("state", 2, "int32"),
        _Field("status", 3, "StatusProto"),
    ),
    "GetModelStatusResponse": (_Field("model_version_status", 1, "[]ModelVersionStatus"),),
    # Of grpc.health.v1.
    "HealthCheckRequest": (_Field("service", 1, "string"),),
    "HealthCheckResponse": (_Field("status", 1, "int32"),),
}


@functools.cache
def message_class(name: str) -> Any:
    """The generated class of message `name`, such as `PredictRequest`; raises `KeyError` for one not declared here."""
    return generated_class(_pool(), f"{_PACKAGE}.{name}")


def generated_class(pool: descriptor_pool.DescriptorPool, full_name: str) -> Any:
    """The class of a message of `pool`; raises `KeyError` for one that it lacks."""
    descriptor = pool.FindMessageTypeByName(full_name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # protobuf 3.20; later ones have no MessageFactory.GetPrototype.
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="conversion_retrieval/wire.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, field: _Field) -> None:
    kind = field.kind.removeprefix("[]").removeprefix("map:")
    repeated = kind != field.kind
    if field.kind.startswith("map:"):
        entry_name = "".join(word.capitalize() for word in field.name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, _Field("key", 1, "string"))
        _add_field(entry, _Field("value", 2, kind))
        kind = f"{message.name}.{entry_name}"
    added = message.field.add(name=field.name, number=field.number)
    types = descriptor_pb2.FieldDescriptorProto
    added.label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
    if kind.split(".")[0] in _MESSAGES:
        added.type = types.TYPE_MESSAGE
        added.type_name = f".{_PACKAGE}.{kind}"
    else:
        added.type = types.Type.Value(f"TYPE_{kind.upper()}")
