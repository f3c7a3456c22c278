"""What ML Metadata knows of the retrievers of a root, by version; imports neither TensorFlow nor TFX."""

import json
from datetime import datetime
from datetime import timezone
from pathlib import Path
from typing import NamedTuple

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_pipeline.retriever_artifact import KIND_PROPERTY
from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY

METADATA_FILE = "metadata.sqlite"
"""Below the root."""


class RetrieverRecord(NamedTuple):
    """One exported retriever.

    Attributes:
        model_version: of its towers.
        kind: of its index.
        folder: of the artifact.
        pushed: when it was first pushed, UTC; None if never.
        run_id: of the run that pushed it, which names its log below `ROOT/logs`; "" if unknown.
    """

    model_version: str
    kind: str
    folder: Path
    pushed: datetime | None
    run_id: str


def read_retrievers(root: Path) -> dict[str, RetrieverRecord]:
    """Records by index version; none without a metadata file."""
    if not (root / METADATA_FILE).is_file():
        return {}
    source = pb.SqliteMetadataSourceConfig(
        filename_uri=str(root / METADATA_FILE), connection_mode=pb.SqliteMetadataSourceConfig.READONLY
    )
    store = mlmd.MetadataStore(pb.ConnectionConfig(sqlite=source))
    pushes = _first_pushes(store)
    records = {}
    for artifact in store.get_artifacts_by_type("Model"):
        version = _text(artifact, VERSION_PROPERTY)
        if version:
            # A retriever from before `model_version` was exported right after its towers.
            model_version = _text(artifact, MODEL_VERSION_PROPERTY) or version
            pushed = pushes.get(version)
            records[version] = RetrieverRecord(
                model_version,
                _text(artifact, KIND_PROPERTY),
                Path(artifact.uri),
                datetime.fromtimestamp(pushed.create_time_since_epoch / 1000, tz=timezone.utc) if pushed else None,
                _run_id(store, pushed) if pushed else "",
            )
    return records


def _first_pushes(store: mlmd.MetadataStore) -> dict[str, pb.Artifact]:
    """Artifacts of the Pusher by version."""
    pushes: dict[str, pb.Artifact] = {}
    for artifact in sorted(store.get_artifacts_by_type("PushedModel"), key=lambda found: found.id):
        if artifact.custom_properties["pushed"].int_value == 1:
            pushes.setdefault(_text(artifact, "pushed_version"), artifact)
    return pushes


def _run_id(store: mlmd.MetadataStore, pushed: pb.Artifact) -> str:
    """As the Pusher was given it."""
    events = store.get_events_by_artifact_ids([pushed.id])
    executions = store.get_executions_by_id([event.execution_id for event in events if event.type == pb.Event.OUTPUT])
    configs = [execution.custom_properties["custom_config"].string_value for execution in executions]
    return next((json.loads(config).get("run_id", "") for config in configs if config), "")


def _text(artifact: pb.Artifact, name: str) -> str:
    return artifact.custom_properties[name].string_value
