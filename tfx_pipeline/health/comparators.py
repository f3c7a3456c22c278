"""Comparators: which features are compared between splits and between runs, by which distance and bound.

A feature's entry in the schema may hold a `skew_comparator` (eval against train) or a `drift_comparator` (this run
against an earlier one). One without gets the configured bound: L-infinity for what is categorical, Jensen-Shannon for
numbers, from quantiles: of a long tail, bins of equal width hold all but a few values in the first one, and their distance
follows the largest value.
"""

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.proto import distribution_validator_pb2

from schemas.features import Feature
from schemas.features import feature_groups

SKEW_PAIRS = (("eval", "train"),)
DRIFT_PAIRS = (("train", "train"), ("catalog", "catalog"))
"""Split of this run, split that it is compared with."""
_NOT_COMPARED = ("key", "sampling", "filter")


def comparators(
    schema: schema_pb2.Schema,
    kind: str,
    *,
    max_distance: float,
    max_divergence: float,
    left_out_roles: tuple[str, ...] = (),
) -> distribution_validator_pb2.DistributionValidatorConfig:
    """The configuration of TFX's DistributionValidator.

    Args:
        schema: effective schema of the run.
        kind: `skew` or `drift`, which names the comparator of a schema's entry.
        max_distance: L-infinity bound of a categorical feature without a comparator.
        max_divergence: Jensen-Shannon bound of a numeric feature without a comparator.
        left_out_roles: of features that are not compared, even by a comparator of their own.
    """
    found = distribution_validator_pb2.DistributionValidatorConfig()
    for feature, entry in zip(feature_groups(schema).features, schema.feature, strict=True):
        own = f"{kind}_comparator"
        if feature.role in left_out_roles:
            continue
        if not entry.HasField(own) and not _is_compared(feature):
            continue
        compared = found.default_slice_config.feature.add()
        compared.path.step.append(feature.name)
        comparator = compared.distribution_comparator
        if entry.HasField(own):
            comparator.CopyFrom(getattr(entry, own))
        elif feature.is_string:
            comparator.infinity_norm.threshold = max_distance
        else:
            comparator.jensen_shannon_divergence.threshold = max_divergence
            comparator.jensen_shannon_divergence.source.type = schema_pb2.HistogramSelection.QUANTILES
    return found


def _is_compared(feature: Feature) -> bool:
    """Whether it can be expected to stay as it is.

    Ids of rows do not, nor rates, shares of a total that grows, nor targets, which are sets. Performance is relative to
    the market's mean of the day: all items without conversions share one value, which is another each day.
    """
    is_target = feature.name.endswith("_item_ids")
    is_relative = feature.treatment == "popularity" or feature.is_performance
    return feature.role not in _NOT_COMPARED and not is_relative and not is_target
