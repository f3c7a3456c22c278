"""HealthGate: stops a run that data health blocks, after DataHealth's artifact is kept."""

import json
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ExampleStatistics

from tfx_pipeline.components.data_health import HealthReport
from tfx_pipeline.health.finding import block_message
from tfx_pipeline.health.report import HEALTH_FILE


@component
def HealthGate(  # noqa: N802 (a TFX component is named like a class)
    health: InputArtifact[HealthReport],
    statistics: InputArtifact[ExampleStatistics],
    code_digest: Parameter[str],
) -> None:
    """Raises where a check blocks. A component of its own, for TFX publishes no artifact of one that failed.

    That it came to its end with these statistics is what AcceptedStatistics looks for in later runs.
    """
    del statistics, code_digest  # lineage, and part of the cache key
    found = json.loads(Path(health.uri, HEALTH_FILE).read_text())
    if found["is_blocked"]:
        raise ValueError(block_message(found["warnings"]))
