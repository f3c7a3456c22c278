"""Finds, in a pipeline's ML Metadata, the statistics and the schema of the run that a version's towers were trained in."""

from pathlib import Path
from typing import NamedTuple

import ml_metadata as mlmd
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2

METADATA_FILE = "metadata.sqlite"
_ARTIFACTS_FOLDER = "artifacts"
_PUSHED, _STATISTICS, _SCHEMA, _MODEL = "PushedModel", "ExampleStatistics", "Schema", "Model"
_QUERY_TAGS = {"query", "context", "history"}


class TrainingRunError(Exception):
    """The root holds no run whose statistics could be compared; the text says why."""


class TrainingRun(NamedTuple):
    """What a run knew of the query features that its model was trained on.

    Attributes:
        version: That the run pushed.
        statistics: Of one split, query features only.
        schema: Query features only.
    """

    version: int
    statistics: statistics_pb2.DatasetFeatureStatisticsList
    schema: schema_pb2.Schema


def read_training_run(root: Path, *, version: int | None, split: str) -> TrainingRun:
    """The run that trained the towers of `version`, the newest one if None: it pushed it, or what a refresh made it from.

    Args:
        root: The pipeline's `--root`.
        version: Of the retriever.
        split: Whose statistics to take, such as `train`.

    Raises:
        TrainingRunError: No such run, or its statistics or schema are gone or unreadable.
    """
    store = _open(root / METADATA_FILE)
    try:
        pushed = _pushed(store, root, version)
        folders = {artifact.type: _folder(root, artifact) for artifact in _artifacts_of_training(store, pushed)}
    except mlmd.errors.StatusError as error:
        raise TrainingRunError(f"{root / METADATA_FILE} cannot be read: {error}") from error
    if missing := {_STATISTICS, _SCHEMA} - set(folders):
        raise TrainingRunError(f"the run that pushed {_version(pushed)} wrote no {' and no '.join(sorted(missing))}")
    schema = _read_schema(folders[_SCHEMA] / "schema.pbtxt")
    statistics = _read_statistics(folders[_STATISTICS] / f"Split-{split}" / "FeatureStats.pb")
    names = {feature.name for feature in schema.feature}
    features = [feature for feature in statistics.datasets[0].features if feature.path.step[0] in names]
    del statistics.datasets[0].features[:]
    statistics.datasets[0].features.extend(features)
    return TrainingRun(_version(pushed), statistics, schema)


def _open(path: Path) -> mlmd.MetadataStore:
    if not path.is_file():
        raise TrainingRunError(f"no run in {path.parent}: it has no {path.name}; give the pipeline's --root")
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        return mlmd.MetadataStore(config)
    except (mlmd.errors.StatusError, RuntimeError) as error:
        raise TrainingRunError(f"{path} is not ML Metadata: {error}") from error


def _pushed(store: mlmd.MetadataStore, root: Path, version: int | None) -> metadata_store_pb2.Artifact:
    """The latest push of a version: a run that is repeated pushes the same one again."""
    pushed = [a for a in store.get_artifacts_by_type(_PUSHED) if a.custom_properties["pushed"].int_value]
    if not pushed:
        raise TrainingRunError(f"no run in {root} has pushed a model")
    wanted = max(map(_version, pushed)) if version is None else version
    found = [artifact for artifact in pushed if _version(artifact) == wanted]
    if not found:
        known = ", ".join(str(number) for number in sorted({_version(artifact) for artifact in pushed}))
        raise TrainingRunError(f"no run in {root} has pushed version {wanted}; they pushed {known}")
    return max(found, key=lambda artifact: artifact.id)


def _version(pushed: metadata_store_pb2.Artifact) -> int:
    return int(pushed.custom_properties["pushed_version"].string_value)


def _artifacts_of_training(
    store: mlmd.MetadataStore, pushed: metadata_store_pb2.Artifact
) -> list[metadata_store_pb2.Artifact]:
    """All artifacts of the runs that pushed, those that came from the cache too; of a refresh, of the run before it.

    A refresh starts with the model of an earlier run, which is the oldest that it has.
    """
    runs = _runs_of(store, pushed)
    while True:
        artifacts = [artifact for run in runs for artifact in store.get_artifacts_by_context(run)]
        models = [artifact for artifact in artifacts if artifact.type == _MODEL]
        earlier = _runs_of(store, min(models, key=lambda model: model.id)) if models else runs
        if min(earlier) >= min(runs):
            return artifacts
        runs = [min(earlier)]


def _runs_of(store: mlmd.MetadataStore, artifact: metadata_store_pb2.Artifact) -> list[int]:
    """Ids of the pipeline runs that made or used the artifact."""
    return [context.id for context in store.get_contexts_by_artifact(artifact.id) if context.type == "pipeline_run"]


def _folder(root: Path, artifact: metadata_store_pb2.Artifact) -> Path:
    """Where the artifact is; below `root` if that was moved since, for the store keeps whole paths."""
    folder = Path(artifact.uri)
    return folder if folder.exists() else root.joinpath(_ARTIFACTS_FOLDER, *folder.parts[-3:])


def _read_schema(path: Path) -> schema_pb2.Schema:
    try:
        schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, text_format.ParseError) as error:
        raise TrainingRunError(f"the run's schema cannot be read: {error}") from error
    query = [feature for feature in schema.feature if _QUERY_TAGS & set(feature.annotation.tag)]
    if not query:
        raise TrainingRunError(f"{path} has no query features: none has a tag of {', '.join(sorted(_QUERY_TAGS))}")
    del schema.feature[:]
    schema.feature.extend(query)
    return schema


def _read_statistics(path: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    try:
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise TrainingRunError(f"the run's statistics cannot be read: {error}") from error
    if not statistics.datasets or not statistics.datasets[0].num_examples:
        raise TrainingRunError(f"{path} is of an empty split")
    return statistics
