"""What became of a run, read from ML Metadata: the runner itself returns normally when nothing was pushed."""

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import v1 as tfx

_DONE = (pb.Execution.COMPLETE, pb.Execution.CACHED)


@dataclass(frozen=True)
class RunRecord:
    """One pipeline run.

    Attributes:
        unfinished: components that did not complete.
        artifacts: output artifacts by `Component.key`.
        seconds: by component, what it took; 0 of one whose outputs came from the cache.
    """

    unfinished: tuple[str, ...]
    artifacts: dict[str, pb.Artifact]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def pushed_version(self) -> str | None:
        """Version that the Pusher pushed, None when it did not."""
        pushed = self.artifacts.get("VersionedPusher.pushed_model")
        if pushed is None or pushed.custom_properties["pushed"].int_value != 1:
            return None
        return pushed.custom_properties["pushed_version"].string_value

    def uri(self, key: str) -> Path | None:
        """Folder of an artifact, None when it was not written."""
        return Path(self.artifacts[key].uri) if key in self.artifacts else None


def read_last_run(metadata: Path, *, expected: tuple[str, ...]) -> RunRecord:
    """The newest run in the store.

    Args:
        metadata: SQLite file.
        expected: ids of all components of the pipeline.
    """
    config = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata))
    store = mlmd.MetadataStore(config)
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        return RunRecord(expected, {})
    executions = store.get_executions_by_context(max(runs, key=lambda context: context.id).id)
    component_of = {e.id: _node_of(store, e) for e in executions}
    done = {component_of[e.id] for e in executions if e.last_known_state in _DONE}
    finished = [e for e in executions if e.last_known_state in _DONE]
    seconds = {component_of[e.id]: _seconds(e) for e in sorted(finished, key=lambda e: e.id)}
    return RunRecord(
        tuple(name for name in expected if name not in done), _outputs(store, finished, component_of), seconds
    )


def _seconds(execution: pb.Execution) -> float:
    """From when it was registered, before it started, to when its outputs were."""
    if execution.last_known_state == pb.Execution.CACHED:
        return 0.0
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return milliseconds / 1000


def _node_of(store: mlmd.MetadataStore, execution: pb.Execution) -> str:
    contexts = store.get_contexts_by_execution(execution.id)
    return next((c.name.rsplit(".", 1)[-1] for c in contexts if c.type == "node"), "")


def _outputs(
    store: mlmd.MetadataStore, executions: list[pb.Execution], component_of: dict[int, str]
) -> dict[str, pb.Artifact]:
    events = [e for e in store.get_events_by_execution_ids([e.id for e in executions]) if e.type == pb.Event.OUTPUT]
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id([e.artifact_id for e in events])}
    return {f"{component_of[e.execution_id]}.{e.path.steps[0].key}": artifacts[e.artifact_id] for e in events}
