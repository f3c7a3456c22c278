"""CatalogExamples: the catalogue of a refresh, with what the last training run knows of its items.

An item that the training run knew keeps its sampling rates and performance features: no event is counted anew. A new item has
none, and a `positive_rate` of 0 would bury it, because the last coordinate of an item's vector is the logarithm of that
rate. So it takes the mean rate of the known items of its category: of those that share the longest prefix of its path that
any known item has, of all where they share none; times `refresh.new_item_popularity`.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from tensorflow.core.example import example_pb2

from schemas import tables
from schemas.features import FeatureGroups
from tfx_pipeline.examples import clean
from tfx_pipeline.examples.encode import encode
from tfx_pipeline.examples.items import CATALOG
from tfx_pipeline.examples.items import duplicates
from tfx_pipeline.examples.pipeline import counts_by_reason
from tfx_pipeline.examples.pipeline import sum_counts
from tfx_pipeline.examples.read import ReadShards
from tfx_pipeline.examples.splits import Shuffle
from tfx_pipeline.examples.types import Attributes

RATE = "positive_rate"
_OTHER_RATE = "impression_rate"
_CATEGORY = "category"
_ALL = ""


class CatalogExamples(beam.PTransform):
    """Item shards -> dict of PCollections: `catalog` lists of serialized tf.Examples, `dead_letters`, `counts`.

    Args:
        folder: of the item shards.
        known: pattern of the training run's `catalog` split, gzipped TFRecords.
        groups: features of the schema.
        new_item_popularity: times the mean rate of its category is the rate of a new item.
        max_id_length: longer ids are dead letters, characters.
    """

    def __init__(
        self, folder: str, known: str, groups: FeatureGroups, *, new_item_popularity: float, max_id_length: int
    ) -> None:
        super().__init__()
        self._folder = folder
        self._known = known
        self._clean = clean.CleanItems(groups.carried_from(tables.ITEMS), max_id_length=max_id_length)
        self._kept = {RATE, _OTHER_RATE, *(feature.name for feature in groups.features if feature.is_performance)}
        self._popularity = new_item_popularity

    def expand(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
        """Clean; what is known by item, and mean rates by category; join."""
        items = pipeline | "ReadItems" >> ReadShards(self._folder, tables.ITEMS) | "CleanItems" >> self._clean
        known = (
            pipeline
            | "ReadKnown" >> beam.io.ReadFromTFRecord(self._known, compression_type=CompressionTypes.GZIP)
            | "ParseKnown" >> beam.Map(_parsed)
        )
        means = known | "RateByCategory" >> beam.FlatMap(_rate_by_prefix) | "Mean" >> beam.combiners.Mean.PerKey()
        joined = ({"items": items.rows, "known": known} | "GroupByItem" >> beam.CoGroupByKey()) | "Join" >> beam.ParDo(
            _JoinFn(self._kept, self._popularity), means=beam.pvalue.AsDict(means)
        ).with_outputs(clean.DEAD_LETTERS, clean.COUNTS, main="rows")
        letters = (items[clean.DEAD_LETTERS], joined[clean.DEAD_LETTERS]) | "AllDeadLetters" >> beam.Flatten()
        return {
            CATALOG: joined.rows | "Shuffle" >> Shuffle(),
            clean.DEAD_LETTERS: letters,
            clean.COUNTS: sum_counts((items[clean.COUNTS], joined[clean.COUNTS], counts_by_reason(letters))),
        }


class _JoinFn(beam.DoFn):
    def __init__(self, kept: set[str], popularity: float) -> None:
        self._kept = kept
        self._popularity = popularity

    def process(self, element: tuple[str, dict[str, Any]], means: dict[str, float]) -> Iterator[Any]:
        """The item's row, or the count of an item that the feed does not have."""
        item_id, group = element
        found = sorted(group["items"], key=repr)
        known = next(iter(group["known"]), None)
        if not found:
            yield beam.pvalue.TaggedOutput(clean.COUNTS, ("items.known_but_gone", 1))
            return
        yield from duplicates(item_id, found[1:])
        yield beam.pvalue.TaggedOutput(clean.COUNTS, ("items.new" if known is None else "items.known", 1))
        if known is None:
            rate = min(1.0, self._popularity * mean_rate(found[0].get(_CATEGORY, _ALL), means))
            sampled: Attributes = {RATE: rate, _OTHER_RATE: 0.0}
        else:
            sampled = {name: value for name, value in known.items() if name in self._kept}
        yield [encode({"item_id": item_id, **found[0], **sampled})]


def mean_rate(category: str, means: dict[str, float]) -> float:
    """The mean of the longest prefix of a category's path that has one; `means` by prefix, of all items at the empty one."""
    return next(means[prefix] for prefix in reversed(_prefixes(category)) if prefix in means)


def _prefixes(category: str) -> list[str]:
    """`a > b` -> the empty path, `a`, `a > b`."""
    levels = category.split(tables.CATEGORY_SEPARATOR) if category else []
    return [_ALL, *(tables.CATEGORY_SEPARATOR.join(levels[:end]) for end in range(1, len(levels) + 1))]


def _rate_by_prefix(item: tuple[str, Attributes]) -> Iterator[tuple[str, float]]:
    _, known = item
    for prefix in _prefixes(known.get(_CATEGORY, _ALL)):
        yield prefix, known[RATE]


def _parsed(record: bytes) -> tuple[str, Attributes]:
    """Item id and the first value of each feature."""
    values: Attributes = {}
    for name, feature in example_pb2.Example.FromString(record).features.feature.items():
        kind = feature.WhichOneof("kind")
        value = getattr(feature, kind).value[0]
        values[name] = value.decode() if kind == "bytes_list" else value
    return values.pop("item_id"), values
