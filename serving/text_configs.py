"""TF Serving's configuration files that its Python package does not declare: batching, monitoring and TLS.

The messages have TF Serving's names and field numbers and live in a descriptor pool of their own, so that the same files
configure both servers.
"""

import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import text_format
from google.protobuf import wrappers_pb2

from serving import wire

_PACKAGE = "tensorflow.serving"
_DEFAULT_PROMETHEUS_PATH = "/monitoring/prometheus/metrics"

# (field, number, type); `[]` repeats it. A message's name stands for the message.
_MESSAGES = {
    "BatchingParameters": (
        ("max_batch_size", 1, "google.protobuf.Int64Value"),
        ("batch_timeout_micros", 2, "google.protobuf.Int64Value"),
        ("max_enqueued_batches", 3, "google.protobuf.Int64Value"),
        ("num_batch_threads", 4, "google.protobuf.Int64Value"),
        ("thread_pool_name", 5, "google.protobuf.StringValue"),
        ("allowed_batch_sizes", 6, "[]int64"),
        ("pad_variable_length_inputs", 7, "bool"),
        ("enable_large_batch_splitting", 8, "google.protobuf.BoolValue"),
        ("max_execution_batch_size", 9, "google.protobuf.Int64Value"),
    ),
    "PrometheusConfig": (("enable", 1, "bool"), ("path", 2, "string")),
    "MonitoringConfig": (("prometheus_config", 1, f"{_PACKAGE}.PrometheusConfig"),),
    "SSLConfig": (
        ("server_key", 1, "string"),
        ("server_cert", 2, "string"),
        ("custom_ca", 3, "string"),
        ("client_verify", 4, "bool"),
    ),
}


def read(path: Path, message: str) -> Any:
    """The `message`, such as `SSLConfig`, that the file holds in text form.

    Raises:
        ValueError: The file cannot be read, or the text is no such message: says file, line, column and field.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message_class(message)())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    except text_format.ParseError as error:
        place = f"line {error.GetLine()}, column {error.GetColumn()}"
        raise ValueError(f"{path}, {place} is not a {message} in text form: {error}") from error


def prometheus_path(path: Path) -> str | None:
    """Where the MonitoringConfig in the file `path` wants the Prometheus metrics; None if it does not want them."""
    config = read(path, "MonitoringConfig").prometheus_config
    if not config.enable:
        return None
    if config.path and not config.path.startswith("/"):
        raise ValueError(f"{path}: prometheus_config.path must start with a slash. Received: {config.path!r}")
    return config.path or _DEFAULT_PROMETHEUS_PATH


@functools.cache
def message_class(name: str) -> Any:
    """The generated class of message `name`, such as `BatchingParameters`."""
    return wire.generated_class(_pool(), f"{_PACKAGE}.{name}")


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    types = descriptor_pb2.FieldDescriptorProto
    wrappers = descriptor_pb2.FileDescriptorProto.FromString(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/text_configs.proto", package=_PACKAGE, syntax="proto3", dependency=[wrappers.name]
    )
    for message, fields in _MESSAGES.items():
        added = file.message_type.add(name=message)
        for name, number, kind in fields:
            element = kind.removeprefix("[]")
            label = types.LABEL_OPTIONAL if element == kind else types.LABEL_REPEATED
            field = added.field.add(name=name, number=number, label=label)
            if "." in element:
                field.type, field.type_name = types.TYPE_MESSAGE, f".{element}"
            else:
                field.type = types.Type.Value(f"TYPE_{element.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(wrappers)
    pool.Add(file)
    return pool
