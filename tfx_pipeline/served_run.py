"""What the version that is served now was made from, by the lineage in ML Metadata, so that a rollback is honoured."""

from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import v1 as tfx

from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY
from tfx_pipeline.stored_versions import served_number
from tfx_pipeline.stored_versions import stored_versions

_KIND_OF_KEY = {"model": "Trainer's model", "examples": "MarketplaceExampleGen's examples", "schema": "schema"}


@dataclass(frozen=True)
class ServedRun:
    """The newest served version and its origin.

    Attributes:
        version: its directory.
        model_version: of its towers.
        retriever: folder of its artifact.
        towers: folder of the Trainer's model.
        examples: folder of the examples that the towers were trained on.
        schema: file of their schema.
    """

    version: str
    model_version: str
    retriever: Path
    towers: Path
    examples: Path
    schema: Path


def read_served_run(metadata: Path, serving: Path) -> ServedRun:
    """Follows the newest version below the serving folder back to its training run.

    Args:
        metadata: SQLite file of ML Metadata.
        serving: folder of the versions.

    Raises:
        ValueError: nothing is served, ML Metadata does not know it, or an artifact of its origin is gone.
    """
    number = served_number(stored_versions(serving)) if serving.is_dir() else None
    if number is None or not metadata.is_file():
        raise ValueError(
            f"A refresh needs a finished run of tfx_pipeline.local_runner. Received: no version in {serving} or no {metadata}."
        )
    store = mlmd.MetadataStore(tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata)))
    version = str(number)
    retriever = _retriever(store, version)
    towers = _origin(store, retriever.id, "model")
    return ServedRun(
        version,
        retriever.custom_properties[MODEL_VERSION_PROPERTY].string_value,
        _folder(retriever),
        _folder(towers),
        _folder(_origin(store, towers.id, "examples")),
        _folder(_origin(store, towers.id, "schema")) / "schema.pbtxt",
    )


def _retriever(store: mlmd.MetadataStore, version: str) -> pb.Artifact:
    models = store.get_artifacts_by_type("Model")
    found = [m for m in models if m.custom_properties[VERSION_PROPERTY].string_value == version]
    if not found:
        raise ValueError(
            f"Version {version} is served, and no run in this root's ML Metadata made it. Push one that a run made."
        )
    return max(found, key=lambda model: model.id)


def _origin(store: mlmd.MetadataStore, artifact_id: int, key: str) -> pb.Artifact:
    """The oldest artifact that came out of a component under the key, among what the artifact was made from."""
    made = [artifact for artifact, keys in _ancestors(store, artifact_id).items() if key in keys]
    if not made:
        raise ValueError(f"ML Metadata knows no {_KIND_OF_KEY[key]} that the served version was made from. Run anew.")
    return store.get_artifacts_by_id([min(made)])[0]


def _ancestors(store: mlmd.MetadataStore, artifact_id: int) -> dict[int, set[str]]:
    """By id, the artifact and all that it was made from, with the keys under which components gave each out."""
    found: dict[int, set[str]] = {}
    frontier = {artifact_id}
    while frontier:
        found.update({artifact: set() for artifact in frontier})
        given = [event for event in store.get_events_by_artifact_ids(list(frontier)) if event.type == pb.Event.OUTPUT]
        for event in given:
            found[event.artifact_id].add(event.path.steps[0].key)
        makers = {event.execution_id for event in given}
        events = store.get_events_by_execution_ids(list(makers)) if makers else []
        frontier = {event.artifact_id for event in events if event.type == pb.Event.INPUT} - set(found)
    return found


def _folder(artifact: pb.Artifact) -> Path:
    if not Path(artifact.uri).is_dir():
        raise ValueError(
            f"{artifact.uri}, which the served version was made from, is gone. Was the root moved? Move it back, or run anew."
        )
    return Path(artifact.uri)
