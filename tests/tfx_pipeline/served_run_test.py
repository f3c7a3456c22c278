from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_pipeline.served_run import read_served_run


class Root:
    """A root whose ML Metadata says what a test lets its runs do."""

    def __init__(self, folder: Path):
        self.metadata, self.serving, self._folder = folder / "metadata.sqlite", folder / "serving", folder / "artifacts"
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(self.metadata)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store = mlmd.MetadataStore(config)
        self._component = self._store.put_execution_type(pb.ExecutionType(name="component"))

    def made(self, kind, key, *inputs, **properties):
        """Records a component that gave out one artifact; its id."""
        artifact = pb.Artifact(type_id=self._store.put_artifact_type(pb.ArtifactType(name=kind)))
        for name, value in properties.items():
            artifact.custom_properties[name].string_value = value
        (execution,) = self._store.put_executions([pb.Execution(type_id=self._component)])
        artifact.uri = str(self._folder / key / str(execution))
        Path(artifact.uri).mkdir(parents=True)
        (artifact_id,) = self._store.put_artifacts([artifact])
        self._link(execution, [(given, "input", pb.Event.INPUT) for given in inputs])
        self._link(execution, [(artifact_id, key, pb.Event.OUTPUT)])
        return artifact_id

    def imported(self, artifact_id):
        """Records an Importer that gave out an artifact that was there."""
        (execution,) = self._store.put_executions([pb.Execution(type_id=self._component)])
        self._link(execution, [(artifact_id, "result", pb.Event.OUTPUT)])

    def _link(self, execution, links):
        events = []
        for artifact_id, key, kind in links:
            event = pb.Event(artifact_id=artifact_id, execution_id=execution, type=kind)
            event.path.steps.add().key = key
            events.append(event)
        self._store.put_events(events)

    def push(self, version):
        (self.serving / version).mkdir(parents=True)

    def folder(self, artifact_id):
        return Path(self._store.get_artifacts_by_id([artifact_id])[0].uri)

    def read(self):
        return read_served_run(self.metadata, self.serving)


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def train(root, version):
    """A whole run: ids of its examples, towers and retriever."""
    examples, schema = root.made("Examples", "examples"), root.made("Schema", "schema")
    transformed = root.made("Examples", "transformed_examples", examples, schema)
    towers = root.made("Model", "model", transformed)
    retriever = root.made("Model", "retriever", examples, towers, version=version, model_version=version)
    return examples, schema, towers, retriever


def refresh(root, trained, version):
    examples, _, towers, _ = trained
    for imported in (examples, towers):
        root.imported(imported)
    catalog = root.made("Examples", "examples", examples)
    root.made("Schema", "schema")
    return root.made("Model", "retriever", catalog, examples, towers, version=version, model_version="100")


def origin(root, found):
    return found.towers, found.examples, found.schema.parent


def test_each_version_leads_back_to_the_run_that_trained_its_towers(root):
    first, second = train(root, "100"), train(root, "200")
    refreshed = refresh(root, first, "300")
    root.imported(refreshed)
    changed = root.made("Model", "retriever", refreshed, version="400", model_version="100")
    expected = {
        "100": (first, first[3]),
        "200": (second, second[3]),
        "300": (first, refreshed),
        "400": (first, changed),
    }
    for version, ((examples, schema, towers, _), retriever) in expected.items():  # pushed one after the other
        root.push(version)
        found = root.read()
        assert (found.version, found.model_version) == (version, "200" if version == "200" else "100")
        assert found.retriever == root.folder(retriever)
        assert origin(root, found) == tuple(map(root.folder, (towers, examples, schema)))


def test_after_a_rollback_the_towers_are_those_of_the_older_version(root):
    first, _ = train(root, "100"), train(root, "200")
    root.push("100")
    assert root.read().towers == root.folder(first[2])


def test_partial_copies_are_no_versions_and_numbers_are_compared_as_numbers(root):
    train(root, "10")
    for name in ("9", "10", "partial-11"):
        root.push(name)
    assert root.read().version == "10"


def test_a_root_without_a_push_is_refused(root):
    with pytest.raises(ValueError, match=r"A refresh needs a finished run .*Received: no version in"):
        root.read()


def test_a_version_that_no_run_made_is_refused(root):
    train(root, "100")
    root.push("777")
    with pytest.raises(ValueError, match="Version 777 is served, and no run in this root's ML Metadata made it"):
        root.read()


def test_an_origin_that_is_gone_is_named(root):
    towers = train(root, "100")[2]
    root.push("100")
    root.folder(towers).rmdir()
    with pytest.raises(ValueError, match=r"is gone\. Was the root moved"):
        root.read()
