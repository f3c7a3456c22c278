"""EmbedCatalog: the `catalog` split through the item tower by Beam, and from its shards the catalogue on disk."""

import threading
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakValueDictionary

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from schemas import contract
from tfx_pipeline.index.catalog import EMPTY
from tfx_pipeline.index.catalog import Catalog
from trainer.export import EMBED_ITEM_EXAMPLES
from trainer.export import ITEM_INDEX

_BATCH = 2048
_SCHEMA = pa.schema(
    {
        "item_ids": pa.binary(),
        "vectors": pa.list_(pa.float32()),
        "positive_rates": pa.float32(),
        "indices": pa.int64(),
        "advertisers": pa.binary(),
        "categories": pa.binary(),
        "prices": pa.float32(),
        "is_available": pa.bool_(),
    }
)
_TEXTS = ("item_ids", "advertisers", "categories")
_ITEM_SPEC = {
    "item_id": tf.io.FixedLenFeature([], tf.string),
    "positive_rate": tf.io.FixedLenFeature([], tf.float32),
    "advertiser_id": tf.io.FixedLenFeature([], tf.string, ""),
    "category": tf.io.FixedLenFeature([], tf.string, ""),
    "price": tf.io.FixedLenFeature([], tf.float32, float("nan")),
    "is_available": tf.io.FixedLenFeature([], tf.float32, 1.0),
}
_loading = threading.Lock()
_loaded: WeakValueDictionary[str, Any] = WeakValueDictionary()


def embed_catalog(pipeline: beam.Pipeline, *, towers: str, files: Sequence[str], folder: Path) -> Catalog:
    """Runs the item tower over raw catalogue examples and writes the catalogue.

    Args:
        pipeline: Not yet run; it runs here.
        towers: SavedModel of the Trainer.
        files: Gzipped TFRecords of the `catalog` split.
        folder: Of the catalogue, see `Catalog.load`; the shards are below it for a while, so all workers must see it.

    Raises:
        ValueError: no item, an item twice, or vectors that are no numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="shards-", dir=folder) as shards:
        with pipeline:
            _ = pipeline | "EmbedCatalog" >> EmbedCatalog(towers, files, shards)
        return write_catalog(sorted(Path(shards).iterdir()), folder)


class EmbedCatalog(beam.PTransform):
    """Files of the `catalog` split -> Parquet shards, in no order, of what a `Catalog` holds.

    A file is the unit of work; what a worker holds does not grow with it.

    Args:
        towers: SavedModel of the Trainer.
        files: Gzipped TFRecords.
        folder: Of the shards.
    """

    def __init__(self, towers: str, files: Sequence[str], folder: str) -> None:
        super().__init__()
        self._towers = towers
        self._files = sorted(files)
        self._folder = folder

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Spread the files, embed their batches, write."""
        return (
            pipeline
            | "Files" >> beam.Create(self._files)
            | "Embed" >> beam.ParDo(_Embed(self._towers))
            | "Write" >> beam.io.WriteToParquetBatched(f"{self._folder}/part", _SCHEMA)
        )


class _Embed(beam.DoFn):
    def __init__(self, towers: str) -> None:
        self._folder = towers

    def setup(self) -> None:
        """Loads the towers, once a process."""
        self._towers = load_towers(self._folder)

    def process(self, file: str) -> Iterator[pa.Table]:
        """Emits a table for each batch."""
        embed = self._towers.signatures[EMBED_ITEM_EXAMPLES]
        for records in tf.data.TFRecordDataset(file, "GZIP").batch(_BATCH).prefetch(1):
            yield _table(tf.io.parse_example(records, _ITEM_SPEC), embed(examples=records))


def load_towers(folder: str) -> Any:
    """The SavedModel, shared within a process for as long as somebody holds it: loading takes seconds."""
    with _loading:
        towers = _loaded.get(folder)
        if towers is None:
            towers = _loaded[folder] = tf.saved_model.load(folder)
        return towers


def _table(parsed: dict[str, tf.Tensor], embedded: dict[str, tf.Tensor]) -> pa.Table:
    vectors = embedded[contract.OUTPUT_EMBEDDING].numpy()
    starts = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    columns = {
        "item_ids": parsed["item_id"].numpy(),
        "vectors": pa.ListArray.from_arrays(starts, vectors.reshape(-1)),
        "positive_rates": parsed["positive_rate"].numpy(),
        "indices": embedded[ITEM_INDEX].numpy(),
        "advertisers": parsed["advertiser_id"].numpy(),
        "categories": parsed["category"].numpy(),
        "prices": parsed["price"].numpy(),
        "is_available": parsed["is_available"].numpy() != 0,
    }
    return pa.table(columns, _SCHEMA)


def write_catalog(shards: Sequence[Path], folder: Path) -> Catalog:
    """The shards' items, sorted by id, as a `Catalog` on disk; memory holds their ids and places only.

    Raises:
        ValueError: no item, an item twice, or vectors that are no numbers.
    """
    num_items = sum(pq.ParquetFile(shard).metadata.num_rows for shard in shards)
    if not num_items:
        raise ValueError(EMPTY)
    types = _types(shards)
    places = _places(shards, np.empty(num_items, types["item_ids"]))
    for name, kind in types.items():
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind.base, (num_items, *kind.shape))
        for block, values in _column(shards, name):
            array[places[block]] = values.reshape(-1, *kind.shape)
        array.flush()
    return Catalog.load(folder)


def _types(shards: Sequence[Path]) -> dict[str, np.dtype]:
    """Types of the arrays, with the length of the longest text and of a vector."""
    lengths = dict.fromkeys(("vectors", *_TEXTS), 1)
    for name in lengths:
        for shard in shards:
            for batch in pq.ParquetFile(shard).iter_batches(_BATCH, columns=[name]):
                count = pc.list_value_length if name == "vectors" else pc.binary_length
                lengths[name] = max(lengths[name], pc.max(count(batch.column(0))).as_py())
    types = {name: np.dtype(f"S{lengths[name]}") for name in _TEXTS}
    types["vectors"] = np.dtype((np.float32, (lengths["vectors"],)))
    return {field.name: types.get(field.name) or np.dtype(field.type.to_pandas_dtype()) for field in _SCHEMA}


def _places(shards: Sequence[Path], item_ids: np.ndarray) -> np.ndarray:
    """[items] int64: where each item of the shards belongs; fills `item_ids` [items], bytes of enough length."""
    for block, values in _column(shards, "item_ids"):
        item_ids[block] = values
    places = np.empty(len(item_ids), np.int64)
    places[np.argsort(item_ids, kind="stable")] = np.arange(len(item_ids))
    return places


def _column(shards: Sequence[Path], name: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Which rows a batch holds, and its values; the numbers of vectors one after the other."""
    start = 0
    for shard in shards:
        for batch in pq.ParquetFile(shard).iter_batches(_BATCH, columns=[name]):
            values = batch.column(0).flatten() if name == "vectors" else batch.column(0)
            yield slice(start, start + len(batch)), values.to_numpy(zero_copy_only=False)
            start += len(batch)
