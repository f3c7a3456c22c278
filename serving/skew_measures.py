"""Statistics of served rows by TFDV, and how far they are from those of training."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple
from typing import TypeAlias

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2

from serving.served_rows import Row

STRING = schema_pb2.BYTES
Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
_ROWS_PER_BATCH = 1000
_RANKS = 1000
"""Values of a string feature whose counts TFDV keeps."""
_ALL = 10_000_000


class FeatureSkew(NamedTuple):
    """One feature in training and served.

    Attributes:
        name: Of the feature.
        missing: Share of the rows without it, in training and served.
        known: Of strings, share of the values that are among training's most frequent ones, as expected and served: the
            L-infinity distance of a large vocabulary stays small though every id be a wrong one. None of numbers, and
            where one side has no values.
        distance: Of the values: Jensen-Shannon divergence of numbers, L-infinity of strings' shares; None where one side
            has no values.
        threshold: Skew is a larger distance, or a larger difference of the shares.
    """

    name: str
    missing: tuple[float, float]
    known: tuple[float, float] | None
    distance: float | None
    threshold: float

    @property
    def is_skewed(self) -> bool:
        """Whether any of it differs by more than the threshold."""
        return bool(self._differences())

    @property
    def verdict(self) -> str:
        """`ok`, or what is skewed."""
        found = self._differences()
        return f"SKEW: {', '.join(found)}" if found else "ok"

    def _differences(self) -> list[str]:
        found = []
        if self._is_apart(self.missing):
            found.append("missing")
        if self.known and self._is_apart(self.known):
            found.append("unknown")
        if self.distance is not None and self.distance > self.threshold:
            found.append("values")
        return found

    def _is_apart(self, shares: tuple[float, float]) -> bool:
        return abs(shares[0] - shares[1]) > self.threshold


def statistics_of(rows: Iterable[Row], is_string: Mapping[str, bool]) -> Statistics:
    """TFDV's statistics, batch by batch: the rows need not fit into memory, their distinct strings must."""
    types = {name: pa.list_(pa.binary() if string else pa.float32()) for name, string in is_string.items()}
    options = tfdv.StatsOptions(num_rank_histogram_buckets=_ALL)
    generators = stats_impl.get_generators(options, in_memory=True)
    found = [generator.create_accumulator() for generator in generators]
    for batch in _batches(iter(rows), pa.schema(list(types.items()))):
        some = stats_impl.generate_partial_statistics_in_memory(batch, options, generators)
        found = [generator.merge_accumulators(pair) for generator, *pair in zip(generators, found, some, strict=True)]
    return stats_impl.extract_statistics_output(found, generators)


def compare(
    training: Statistics,
    served: Statistics,
    schema: schema_pb2.Schema,
    *,
    threshold: float,
) -> tuple[list[FeatureSkew], dict[str, str]]:
    """Every feature of the schema in its order, and TFDV's text by feature that has an anomaly.

    A `skew_comparator` of the schema goes before `threshold`.
    """
    comparing = _with_comparators(schema, threshold)
    before, now = _by_name(training), _by_name(served)
    known = {name: _known_shares(before[name], now[name]) for name in before.keys() & now.keys()}
    missing = [_missing_shares(statistics) for statistics in (training, served)]
    anomalies = tfdv.validate_statistics(training, comparing, serving_statistics=_ranked_as_training(served))
    distances = {info.path.step[0]: info.skew_measurements[0].value for info in anomalies.drift_skew_info}
    skews = [
        FeatureSkew(
            feature.name,
            (missing[0].get(feature.name, 1.0), missing[1].get(feature.name, 1.0)),
            known.get(feature.name),
            distances.get(feature.name),
            _threshold(feature),
        )
        for feature in comparing.feature
    ]
    return skews, {name: info.description for name, info in sorted(anomalies.anomaly_info.items())}


def _batches(rows: Iterator[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _ROWS_PER_BATCH)):
        columns = [pa.array([row.get(field.name) or None for row in some], field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _with_comparators(schema: schema_pb2.Schema, threshold: float) -> schema_pb2.Schema:
    comparing = schema_pb2.Schema()
    comparing.CopyFrom(schema)
    for feature in comparing.feature:
        comparator = feature.skew_comparator
        if comparator.HasField("infinity_norm") or comparator.HasField("jensen_shannon_divergence"):
            continue
        if feature.type == STRING:
            comparator.infinity_norm.threshold = threshold
        else:
            comparator.jensen_shannon_divergence.threshold = threshold
            # Not the default, ten equal steps up to the maximum: most values of a count lie in the first one.
            comparator.jensen_shannon_divergence.source.type = schema_pb2.HistogramSelection.QUANTILES
    return comparing


def _threshold(feature: schema_pb2.Feature) -> float:
    comparator = feature.skew_comparator
    is_norm = comparator.HasField("infinity_norm")
    return comparator.infinity_norm.threshold if is_norm else comparator.jensen_shannon_divergence.threshold


def _by_name(statistics: Statistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}


def _missing_shares(statistics: Statistics) -> dict[str, float]:
    num_rows = statistics.datasets[0].num_examples
    common = {name: getattr(f, f.WhichOneof("stats")).common_stats for name, f in _by_name(statistics).items()}
    return {name: 1.0 - stats.num_non_missing / num_rows for name, stats in common.items()}


def _known_shares(
    training: statistics_pb2.FeatureNameStatistics, served: statistics_pb2.FeatureNameStatistics
) -> tuple[float, float] | None:
    """What training lets one expect of fresh values, and what was served.

    Values are listed because they were seen, so that a fresh sample has fewer of them: a training value counts if it
    would be listed without itself (Good, "The population frequencies of species", Biometrika 1953).
    """
    listed = {bucket.label: bucket.sample_count for bucket in training.string_stats.rank_histogram.buckets}
    totals = [feature.string_stats.common_stats.tot_num_values for feature in (training, served)]
    if not listed or not all(totals):
        return None
    least = min(listed.values()) if len(listed) >= _RANKS else 1
    expected = sum(count for count in listed.values() if count > least)
    found = sum(b.sample_count for b in served.string_stats.rank_histogram.buckets if b.label in listed)
    return expected / totals[0], found / totals[1]


def _ranked_as_training(served: Statistics) -> Statistics:
    """TFDV takes the listed values for all of them, so that both sides must list as many."""
    ranked = statistics_pb2.DatasetFeatureStatisticsList()
    ranked.CopyFrom(served)
    for feature in ranked.datasets[0].features:
        if feature.HasField("string_stats"):
            del feature.string_stats.rank_histogram.buckets[_RANKS:]
    return ranked
