import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.types import standard_artifacts

from tfx_pipeline.components.accepted_statistics import AcceptedStatistics


class Store:
    """ML Metadata in memory, with statistics that gates consumed."""

    def __init__(self):
        self.store = mlmd.MetadataStore(pb.ConnectionConfig(fake_database=pb.FakeDatabaseConfig()))
        self._type = self.store.put_artifact_type(pb.ArtifactType(name="ExampleStatistics"))
        self.artifacts = []

    def statistics(self):
        """New ones, as TFX gives them to a strategy."""
        (number,) = self.store.put_artifacts([pb.Artifact(type_id=self._type)])
        artifact = standard_artifacts.ExampleStatistics()
        artifact.id = number
        self.artifacts.append(artifact)
        return artifact

    def consumed(self, artifact, *, by="tfx_pipeline.components.health_gate.HealthGate", state=pb.Execution.COMPLETE):
        """An execution that read them."""
        kind = self.store.put_execution_type(pb.ExecutionType(name=by))
        (number,) = self.store.put_executions([pb.Execution(type_id=kind, last_known_state=state)])
        event = pb.Event(artifact_id=artifact.id, execution_id=number, type=pb.Event.INPUT)
        self.store.put_events([event])

    def previous(self, current):
        """Ids that the strategy finds."""
        found = AcceptedStatistics().resolve_artifacts(
            self.store, {"current": [current], "previous": list(self.artifacts)}
        )
        assert found["current"] == [current]
        return [artifact.id for artifact in found["previous"]]


@pytest.fixture
def known():
    return Store()


def test_the_first_run_has_none(known):
    assert known.previous(known.statistics()) == []


def test_those_of_the_last_run_that_was_let_pass_are_found(known):
    first, second, blocked, unchecked, current = (known.statistics() for _ in range(5))
    known.consumed(first)
    known.consumed(second)
    known.consumed(blocked, state=pb.Execution.FAILED)
    known.consumed(unchecked, by="tfx_pipeline.components.data_health.DataHealth")
    assert known.previous(current) == [second.id]


def test_a_cached_gate_counts_and_the_latest_decides_not_the_newest_data(known):
    first, second, current = (known.statistics() for _ in range(3))
    known.consumed(first)
    known.consumed(second)
    known.consumed(first, state=pb.Execution.CACHED)
    assert known.previous(current) == [first.id]


def test_a_run_is_never_compared_with_itself(known):
    first, current = known.statistics(), known.statistics()
    known.consumed(first)
    known.consumed(current)  # a killed run, now resumed
    assert known.previous(current) == [first.id]
