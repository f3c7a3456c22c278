"""Writes the user snapshot that `serving.query` reads, from ExampleGen's output: see `schemas.contract`."""

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from datetime import timezone
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from tfx_pipeline.atomic import write_text
from tfx_pipeline.components.example_gen import SNAPSHOT_FOLDER
from tfx_pipeline.components.example_gen import read_facts

_CATALOG_FOLDER = "Split-catalog"
_BATCH = 1024
_SHOWN = ("title", "advertiser_id", "category", "price")


def write_snapshot(examples_uri: str, path: Path, *, source: str, notice: str, catalog_uri: str | None = None) -> None:
    """Writes the SQLite file under a temporary name, renames it, and points the user's cache folder to it.

    Args:
        examples_uri: ExampleGen's artifact.
        path: of the file.
        source: name of the source.
        notice: terms to show with every answer.
        catalog_uri: examples whose catalogue is newer; items that it lacks keep their titles, for histories hold them.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    as_of = datetime.fromtimestamp(read_facts(examples_uri)["period"]["last_us"] / 1e6, tz=timezone.utc)
    meta = {"as_of": as_of.isoformat(), "source": source, "notice": notice}
    with sqlite3.connect(partial) as database:
        database.executescript(contract.SNAPSHOT_SCHEMA)
        database.executemany("INSERT INTO users VALUES (?, ?)", _users(Path(examples_uri) / SNAPSHOT_FOLDER))
        for uri in filter(None, (examples_uri, catalog_uri)):
            items = _items(Path(uri) / _CATALOG_FOLDER)
            database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", items)
        database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    database.close()
    partial.rename(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    write_text(cache.joinpath(*contract.SNAPSHOT_POINTER), str(path.resolve()))


def change_prices(path: Path, prices: Mapping[str, float]) -> None:
    """Writes a copy of the SQLite file with other prices, by item id, and renames it."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.copyfile(path, partial)
    with sqlite3.connect(partial) as database:
        rows = ((_shortest(price), item_id) for item_id, price in prices.items())
        database.executemany("UPDATE items SET price = ? WHERE item_id = ?", rows)
    database.close()
    partial.rename(path)


def _users(folder: Path) -> Iterator[tuple[str, str]]:
    for shard in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row["user_id"], json.dumps(row["features"], ensure_ascii=False)


def _items(folder: Path) -> Iterator[tuple[Any, ...]]:
    """Of the catalogue's examples, so that ids read as the model's and of doubled rows the model's is shown."""
    shards = sorted(str(shard) for shard in folder.iterdir())
    for records in tf.data.TFRecordDataset(shards, "GZIP").batch(_BATCH).as_numpy_iterator():
        for record in records:
            features = tf.train.Example.FromString(record).features.feature
            yield tuple(_value(features[name]) if name in features else None for name in ("item_id", *_SHOWN))


def _value(feature: tf.train.Feature) -> str | float | None:
    """The one value of a feature."""
    if feature.bytes_list.value:
        return feature.bytes_list.value[0].decode()
    return _shortest(feature.float_list.value[0]) if feature.float_list.value else None


def _shortest(number: float) -> float:
    """The shortest number that reads as the same float32."""
    return float(str(np.float32(number)))
