"""AcceptedStatistics: a Resolver's strategy that finds the statistics of the last run that data health let pass."""

from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact

_DONE = (pb.Execution.COMPLETE, pb.Execution.CACHED)
GATE = "HealthGate"


class AcceptedStatistics(ResolverStrategy):
    """Of the `previous` statistics, those of the latest run in which HealthGate came to its end, none if there are none.

    TFX's LatestArtifactStrategy would find this run's own. Statistics of the same data are left out too: a run that was blocked,
    or killed and resumed, is then compared with what it was compared with before, not with itself.
    """

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Looks up which statistics a HealthGate consumed.

        Args:
            store: ML Metadata.
            input_dict: `current`, this run's statistics, and `previous`, all of the pipeline.
        """
        own = {artifact.id for artifact in input_dict["current"]}
        known = {artifact.id: artifact for artifact in input_dict["previous"] if artifact.id not in own}
        latest = _last_accepted(store, list(known))
        return {**input_dict, "previous": [known[latest]] if latest else []}


def _last_accepted(store: Any, artifact_ids: list[int]) -> int | None:
    """The id that the newest gate that let a run pass had consumed."""
    events = store.get_events_by_artifact_ids(artifact_ids) if artifact_ids else []
    consumed = {event.execution_id: event.artifact_id for event in events if event.type == pb.Event.INPUT}
    gates = [
        execution.id
        for execution in (store.get_executions_by_id(list(consumed)) if consumed else [])
        if execution.last_known_state in _DONE and execution.type.rsplit(".", 1)[-1] == GATE
    ]
    return consumed[max(gates)] if gates else None
