"""DataHealth: skew, drift and the labels' health of a run, in one artifact."""

import json
import logging
from collections.abc import Iterable
from datetime import datetime
from datetime import timezone
from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import Artifact
from tfx.types.standard_artifacts import ExampleAnomalies
from tfx.types.standard_artifacts import Examples
from tfx.types.standard_artifacts import ExampleStatistics

from tfx_pipeline import strict_json
from tfx_pipeline.atomic import write_text
from tfx_pipeline.health.comparators import DRIFT_PAIRS
from tfx_pipeline.health.comparators import SKEW_PAIRS
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.distances import lost_and_grown
from tfx_pipeline.health.distances import read_distances
from tfx_pipeline.health.finding import Finding
from tfx_pipeline.health.labels import Labels
from tfx_pipeline.health.report import HEALTH_FILE
from tfx_pipeline.health.report import health_report

log = logging.getLogger(__name__)


class HealthReport(Artifact):
    """Holds `health.json`."""

    TYPE_NAME = "HealthReport"


@component
def DataHealth(  # noqa: N802 (a TFX component is named like a class)
    examples: InputArtifact[Examples],
    statistics: InputArtifact[ExampleStatistics],
    skew: InputArtifact[ExampleAnomalies],
    drift: InputArtifact[ExampleAnomalies],
    health: OutputArtifact[HealthReport],
    config: Parameter[str],
    code_digest: Parameter[str],
    previous: InputArtifact[ExampleStatistics] = None,
) -> None:
    """Writes `health.json`. It does not stop a run: HealthGate does, once this artifact is kept."""
    del code_digest  # part of the cache key only
    options = HealthConfig(**json.loads(config))
    splits = sorted({split for split, _ in DRIFT_PAIRS})
    drifted: Iterable[Finding] = ()
    if previous is not None:
        drifted = lost_and_grown(_statistics(statistics, splits), _statistics(previous, splits), options)
    found = health_report(
        Labels.read(examples.uri, options),
        options,
        skew=read_distances(Path(skew.uri), SKEW_PAIRS),
        drift=read_distances(Path(drift.uri), DRIFT_PAIRS, against="earlier "),
        drifted=drifted,
        drift_against=_name_of(previous) if previous is not None else None,
    )
    write_text(Path(health.uri, HEALTH_FILE), strict_json.dumps(found, indent=2) + "\n")
    log.info("Warnings of data health: %s", len(found["warnings"]))


def _statistics(artifact: Artifact, splits: list[str]) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    return {split: stats_artifact_utils.load_statistics(artifact, split).proto().datasets[0] for split in splits}


def _name_of(statistics: Artifact) -> str:
    """When the earlier run made its statistics, which ML Metadata knows, and their number there."""
    created_s = statistics.mlmd_artifact.create_time_since_epoch / 1000
    moment = datetime.fromtimestamp(created_s, tz=timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC (statistics {statistics.id})"
