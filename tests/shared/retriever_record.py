"""Retrievers in ML Metadata, as the pipeline's components leave them there."""

import json

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb


def record(root, *, version, properties, uri="retriever"):
    """Writes a retriever and its push."""
    source = pb.SqliteMetadataSourceConfig(
        filename_uri=str(root / "metadata.sqlite"), connection_mode=pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    )
    store = MetadataStore(pb.ConnectionConfig(sqlite=source))
    model, pushed = (store.put_artifact_type(pb.ArtifactType(name=name)) for name in ("Model", "PushedModel"))
    pusher = store.put_execution_type(pb.ExecutionType(name="Pusher"))
    found = {"version": version, **properties}
    artifact = pb.Artifact(type_id=model, uri=str(uri))
    for name, text in found.items():
        artifact.custom_properties[name].string_value = text
    push = pb.Artifact(type_id=pushed)
    push.custom_properties["pushed"].int_value = 1
    push.custom_properties["pushed_version"].string_value = version
    execution = pb.Execution(type_id=pusher)
    execution.custom_properties["custom_config"].string_value = json.dumps({"run_id": f"run-{version}"})
    event = pb.Event(type=pb.Event.OUTPUT)
    store.put_execution(execution, [(artifact, None), (push, event)], [])
