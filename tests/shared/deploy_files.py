"""The files of `serving/deploy` as data, for the tests that check them, and the messages that the API package lacks."""

from pathlib import Path

import yaml
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory
from google.protobuf import text_format
from google.protobuf import wrappers_pb2

DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]["retriever"]
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
MANIFESTS = {
    manifest["kind"]: manifest
    for path in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((DEPLOY / path).read_text())
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def component_flags(name):
    (patch,) = yaml.safe_load((DEPLOY / "kubernetes" / name / "kustomization.yaml").read_text())["patches"]
    values = [operation.get("value") for operation in yaml.safe_load(patch["patch"])]
    return [value for value in values if isinstance(value, str)]


def _message_classes(messages):
    """Classes of the messages that the API package lacks, by the field names and types of TF Serving's sources."""
    field = descriptor_pb2.FieldDescriptorProto
    types = {"bool": field.TYPE_BOOL, "int64": field.TYPE_INT64, "string": field.TYPE_STRING}
    file = descriptor_pb2.FileDescriptorProto(name="deploy_files.proto", package="deploy_files", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields.items(), start=1):
            label = field.LABEL_REPEATED if kind.startswith("repeated ") else field.LABEL_OPTIONAL
            kind = kind.removeprefix("repeated ")
            kinds = {"type": types[kind]} if kind in types else {"type": field.TYPE_MESSAGE, "type_name": kind}
            message.field.add(name=key, number=number, label=label, **kinds)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"deploy_files.{name}")) for name in messages}


_INT64 = ".google.protobuf.Int64Value"
_MESSAGES = _message_classes(
    {
        "BatchingParameters": {
            "max_batch_size": _INT64,
            "batch_timeout_micros": _INT64,
            "max_enqueued_batches": _INT64,
            "num_batch_threads": _INT64,
            "thread_pool_name": ".google.protobuf.StringValue",
            "allowed_batch_sizes": "repeated int64",
            "pad_variable_length_inputs": "bool",
        },
        "PrometheusConfig": {"enable": "bool", "path": "string"},
        "MonitoringConfig": {"prometheus_config": ".deploy_files.PrometheusConfig"},
        "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
    }
)


def read_message(name, path):
    """The message `name` of a file in text form."""
    return text_format.Parse(path.read_text(), _MESSAGES[name]())
