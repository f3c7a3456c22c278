"""Writes the user snapshot that `serving.query` reads, from ExampleGen's output: see `schemas.contract`."""

import gzip
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from datetime import timezone
from pathlib import Path
from typing import Any

from schemas import contract
from schemas import tables
from tfx_pipeline.atomic import write_text
from tfx_pipeline.components.example_gen import SNAPSHOT_FOLDER
from tfx_pipeline.components.example_gen import read_facts
from tfx_pipeline.examples.read import read_shard

_SHOWN = ("title", "advertiser_id", "category", "price")


def write_snapshot(examples_uri: str, dataset: Path, path: Path, *, source: str, notice: str) -> None:
    """Writes the SQLite file under a temporary name, renames it, and points the user's cache folder to it.

    Args:
        examples_uri: ExampleGen's artifact.
        dataset: raw tables, for what is shown of an item.
        path: of the file.
        source: name of the source.
        notice: terms to show with every answer.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    as_of = datetime.fromtimestamp(read_facts(examples_uri)["period"]["last_us"] / 1e6, tz=timezone.utc)
    meta = {"as_of": as_of.isoformat(), "source": source, "notice": notice}
    with sqlite3.connect(partial) as database:
        database.executescript(contract.SNAPSHOT_SCHEMA)
        database.executemany("INSERT INTO users VALUES (?, ?)", _users(Path(examples_uri) / SNAPSHOT_FOLDER))
        database.executemany("INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?)", _items(dataset))
        database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    database.close()
    partial.rename(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    write_text(cache.joinpath(*contract.SNAPSHOT_POINTER), str(path.resolve()))


def _users(folder: Path) -> Iterator[tuple[str, str]]:
    for shard in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row["user_id"], json.dumps(row["features"], ensure_ascii=False)


def _items(dataset: Path) -> Iterator[tuple[Any, ...]]:
    for shard in sorted((dataset / tables.ITEMS).iterdir()):
        for _, frame in read_shard(str(shard), tables.ITEMS):
            columns = [frame[name] if name in frame.columns else [None] * len(frame) for name in ("item_id", *_SHOWN)]
            for item_id, *shown in zip(*columns, strict=True):
                yield str(item_id), *(None if value != value or value is None else value for value in shown)
