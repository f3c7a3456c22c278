"""Distances between distributions, from the anomalies that TFX's DistributionValidator wrote."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2

from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.finding import Finding

_ANOMALIES_FILE = "SchemaDiff.pb"
_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "l_infinity",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "jensen_shannon",
}
_TITLES = {"l_infinity": "the largest change of a value's share", "jensen_shannon": "the Jensen-Shannon divergence"}


def read_distances(anomalies: Path, pairs: tuple[tuple[str, str], ...], *, against: str = "") -> list[dict[str, Any]]:
    """`{"feature", "splits", "measure", "value", "bound"}` of every feature that was compared, in the order of the pairs.

    Args:
        anomalies: folder of the validator's artifact.
        pairs: compared splits; a pair that was not compared has no file.
        against: put before the second split's name.
    """
    found: list[dict[str, Any]] = []
    for split, base in pairs:
        file = anomalies / f"SplitPair-{split}_{base}" / _ANOMALIES_FILE
        if file.exists():
            info = anomalies_pb2.Anomalies.FromString(file.read_bytes()).drift_skew_info
            found.extend(_distances(info, f"{split} / {against}{base}"))
    return found


def _distances(info: Any, splits: str) -> Iterator[dict[str, Any]]:
    for feature in sorted(info, key=lambda feature: list(feature.path.step)):
        for measured in feature.drift_measurements:
            yield {
                "feature": ".".join(feature.path.step),
                "splits": splits,
                "measure": _MEASURES[measured.type],
                "value": measured.value,
                "bound": measured.threshold,
            }


def crossed(check: str, distances: list[dict[str, Any]]) -> Iterator[Finding]:
    """A finding per feature whose distance is above its bound, farthest above first."""
    above = [found for found in distances if found["value"] > found["bound"]]
    for found in sorted(above, key=lambda found: found["bound"] / found["value"]):
        splits = found["splits"].replace(" / ", " against ")
        option = "distance" if found["measure"] == "l_infinity" else "divergence"
        message = (
            f"feature {found['feature']!r}, {splits}: {_TITLES[found['measure']]} is {found['value']:.3f}, more than "
            f"{found['bound']:g} (health.max_{check}_{option}, or the feature's {check}_comparator in the schema)"
        )
        yield Finding(check, f"{found['feature']}, {splits}", found["value"], found["bound"], message)


def lost_and_grown(
    now: dict[str, statistics_pb2.DatasetFeatureStatistics],
    before: dict[str, statistics_pb2.DatasetFeatureStatistics],
    config: HealthConfig,
) -> Iterator[Finding]:
    """Drift that no distance shows: a split with far more or fewer rows, and features that no row has any more.

    Args:
        now: statistics by split.
        before: those of the earlier run.
        config: bounds.
    """
    for split in sorted(set(now) & set(before)):
        rows, rows_before = now[split].num_examples, before[split].num_examples
        factor = rows / max(1, rows_before)
        bound = config.max_drift_rows if factor > 1 else 1 / config.max_drift_rows
        if rows_before and not 1 / config.max_drift_rows <= factor <= config.max_drift_rows:
            message = (
                f"split {split} has {rows:,} rows and had {rows_before:,}, {factor:.2f} times as many, beyond {bound:g} "
                "(health.max_drift_rows): is it the whole data?"
            )
            yield Finding("drift", f"rows of {split}", factor, bound, message)
        for name in sorted(_present(before[split]) - _present(now[split])) if rows else ():
            message = f"feature {name!r} has no value in split {split} and had some: is its column gone or empty?"
            yield Finding("drift", f"{name}, {split}", 0.0, 0.0, message)


def _present(statistics: statistics_pb2.DatasetFeatureStatistics) -> set[str]:
    """Names of the features that at least one row has."""
    found = set()
    for feature in statistics.features:
        common = getattr(feature, feature.WhichOneof("stats")).common_stats if feature.WhichOneof("stats") else None
        if common and common.num_non_missing:
            found.add(feature.path.step[0])
    return found
