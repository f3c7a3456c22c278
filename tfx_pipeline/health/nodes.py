"""The components of data health in a pipeline: from valid examples to leave to train on them."""

import json
from typing import NamedTuple

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.components import DistributionValidator
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types.standard_artifacts import ExampleStatistics

from tfx_pipeline import digest
from tfx_pipeline.components.accepted_statistics import AcceptedStatistics
from tfx_pipeline.components.data_health import DataHealth
from tfx_pipeline.components.health_gate import HealthGate
from tfx_pipeline.health.comparators import DRIFT_PAIRS
from tfx_pipeline.health.comparators import SKEW_PAIRS
from tfx_pipeline.health.comparators import comparators
from tfx_pipeline.health.config import HealthConfig


class HealthNodes(NamedTuple):
    """Components in their order; what trains comes after `gate`."""

    previous: tfx.dsl.Resolver
    skew: BaseNode
    drift: BaseNode
    data_health: BaseNode
    gate: BaseNode


def health_nodes(
    example_gen: BaseNode,
    statistics_gen: BaseNode,
    schema: schema_pb2.Schema,
    config: HealthConfig,
    *,
    after: BaseNode,
    are_histories_alike: bool,
) -> HealthNodes:
    """Compares the splits with each other and with an earlier run's, reads the labels, and stops the run where a check blocks.

    Args:
        example_gen: MarketplaceExampleGen.
        statistics_gen: StatisticsGen.
        schema: effective schema of the run.
        config: checks and bounds.
        after: what found the statistics valid.
        are_histories_alike: whether histories of train are cut like those of eval, so that they can be compared.
    """
    statistics = statistics_gen.outputs["statistics"]

    # Finds the statistics of the last run that was let pass; the first run has none.
    previous = tfx.dsl.Resolver(
        strategy_class=AcceptedStatistics, current=statistics, previous=tfx.dsl.Channel(type=ExampleStatistics)
    ).with_id("PreviousStatistics")
    earlier = previous.outputs["previous"].as_optional()

    # Measure the distance of eval to train, and of this run to the earlier one.
    skew = DistributionValidator(
        statistics,
        statistics,
        comparators(
            schema,
            "skew",
            max_distance=config.max_skew_distance,
            max_divergence=config.max_skew_divergence,
            left_out_roles=() if are_histories_alike else ("history",),
        ),
        include_split_pairs=list(SKEW_PAIRS),
    ).with_id("SkewValidator")
    drift = DistributionValidator(
        statistics,
        earlier,
        comparators(
            schema, "drift", max_distance=config.max_drift_distance, max_divergence=config.max_drift_divergence
        ),
        include_split_pairs=list(DRIFT_PAIRS),
    ).with_id("DriftValidator")
    for validator in (skew, drift):
        validator.add_upstream_node(after)

    # Puts the distances and the labels' health into one report.
    data_health = DataHealth(
        examples=example_gen.outputs["examples"],
        statistics=statistics,
        skew=skew.outputs["anomalies"],
        drift=drift.outputs["anomalies"],
        previous=earlier,
        config=json.dumps(config.to_dict()),
        code_digest=digest.code_digest(digest.HEALTH_CODE),
    )

    # Stops the run where a check blocks.
    gate = HealthGate(
        health=data_health.outputs["health"],
        statistics=statistics,
        code_digest=digest.code_digest(digest.HEALTH_GATE_CODE),
    )
    return HealthNodes(previous, skew, drift, data_health, gate)
