"""TF Serving's gRPC messages without TensorFlow: the same bytes under another package name.

Importing `tensorflow-serving-api` imports TensorFlow, which takes a client seconds and gigabytes. These messages have
the originals' field numbers and live in a descriptor pool of their own, so both can be in one process.
Only what a client of a retriever needs is declared; other fields are kept as unknown fields.
"""

import enum
import functools
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Mapping
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


class Field(NamedTuple):
    """A field; `kind` is a scalar type or a message above it; `[]` before it repeats it, `map:` maps strings to it."""

    name: str
    number: int
    kind: str


# Enumerations are declared as the int32 that they are on the wire.
_MESSAGES: dict[str, tuple[Field, ...]] = {
    "Int64Value": (Field("value", 1, "int64"),),
    "Any": (Field("type_url", 1, "string"), Field("value", 2, "bytes")),
    "Dim": (Field("size", 1, "int64"), Field("name", 2, "string")),
    "TensorShapeProto": (Field("dim", 2, "[]Dim"), Field("unknown_rank", 3, "bool")),
    "TensorProto": (
        Field("dtype", 1, "int32"),
        Field("tensor_shape", 2, "TensorShapeProto"),
        Field("version_number", 3, "int32"),
        Field("tensor_content", 4, "bytes"),
        Field("float_val", 5, "[]float"),
        Field("double_val", 6, "[]double"),
        Field("int_val", 7, "[]int32"),
        Field("string_val", 8, "[]bytes"),
        Field("int64_val", 10, "[]int64"),
        Field("bool_val", 11, "[]bool"),
    ),
    "TensorInfo": (
        Field("name", 1, "string"),
        Field("dtype", 2, "int32"),
        Field("tensor_shape", 3, "TensorShapeProto"),
    ),
    "SignatureDef": (
        Field("inputs", 1, "map:TensorInfo"),
        Field("outputs", 2, "map:TensorInfo"),
        Field("method_name", 3, "string"),
    ),
    "SignatureDefMap": (Field("signature_def", 1, "map:SignatureDef"),),
    "ModelSpec": (
        Field("name", 1, "string"),
        Field("version", 2, "Int64Value"),
        Field("signature_name", 3, "string"),
        # One of this and `version` in the original; the bytes are the same as long as a sender sets only one.
        Field("version_label", 4, "string"),
    ),
    "PredictRequest": (
        Field("model_spec", 1, "ModelSpec"),
        Field("inputs", 2, "map:TensorProto"),
        Field("output_filter", 3, "[]string"),
    ),
    "PredictResponse": (Field("outputs", 1, "map:TensorProto"), Field("model_spec", 2, "ModelSpec")),
    "GetModelMetadataRequest": (Field("model_spec", 1, "ModelSpec"), Field("metadata_field", 2, "[]string")),
    "GetModelMetadataResponse": (Field("model_spec", 1, "ModelSpec"), Field("metadata", 2, "map:Any")),
    "GetModelStatusRequest": (Field("model_spec", 1, "ModelSpec"),),
    "StatusProto": (Field("error_code", 1, "int32"), Field("error_message", 2, "string")),
    "ModelVersionStatus": (
        Field("version", 1, "int64"),
        Field("state", 2, "int32"),
        Field("status", 3, "StatusProto"),
    ),
    "GetModelStatusResponse": (Field("model_version_status", 1, "[]ModelVersionStatus"),),
    # Of grpc.health.v1.
    "HealthCheckRequest": (Field("service", 1, "string"),),
    "HealthCheckResponse": (Field("status", 1, "int32"),),
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


def new_pool(package: str, messages: Mapping[str, Iterable[Field]]) -> descriptor_pool.DescriptorPool:
    """A pool that declares the messages in `package`."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, field, package=package, declared=messages)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    return new_pool(_PACKAGE, _MESSAGES)


def _add_field(
    message: descriptor_pb2.DescriptorProto, field: Field, *, package: str, declared: Container[str]
) -> None:
    kind = field.kind.removeprefix("[]").removeprefix("map:")
    repeated = kind != field.kind
    if field.kind.startswith("map:"):
        entry_name = "".join(word.capitalize() for word in field.name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, Field("key", 1, "string"), package=package, declared=declared)
        _add_field(entry, Field("value", 2, kind), package=package, declared=declared)
        kind = f"{message.name}.{entry_name}"
    added = message.field.add(name=field.name, number=field.number)
    types = descriptor_pb2.FieldDescriptorProto
    added.label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
    if kind.split(".")[0] in declared:
        added.type = types.TYPE_MESSAGE
        added.type_name = f".{package}.{kind}"
    else:
        added.type = types.Type.Value(f"TYPE_{kind.upper()}")
