"""The dataset of a run: raw tables from a source, and the effective schema that they can fill."""

import dataclasses
import hashlib
import importlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import tables
from schemas.features import feature_groups
from schemas.load import load_schema
from schemas.load import prune_schema
from schemas.load import read_schema
from tfx_pipeline import configs
from tfx_pipeline.atomic import write_text
from tfx_pipeline.digest import SOURCES_CODE
from tfx_pipeline.digest import code_digest
from tfx_pipeline.examples.read import column_names
from tfx_pipeline.examples.read import read_shard

log = logging.getLogger(__name__)

FACTS_FILE = "source.json"
TABLES_FOLDER = "tables"


def prepare_tables(source: str, data: Path | None, root: Path, options: dict[str, Any]) -> Path:
    """The folder of raw tables; a source writes it below the root unless an equal earlier run did.

    Args:
        source: name of an adapter, or `tables`.
        data: file or folder that the source reads; for `tables` the dataset itself.
        root: of the run.
        options: of the source, by name; text is converted to the option's type.

    Raises:
        ValueError: `data` is missing, or an option is unknown.
    """
    if source == configs.TABLES:
        if data is None or not data.is_dir():
            raise ValueError(f"--source=tables needs --data=FOLDER with events/ and items/. Received: {data}")
        return data.resolve()
    module = importlib.import_module(f"tfx_pipeline.sources.{source}")
    chosen = _options(module.Options, options)
    out, key_file = root / TABLES_FOLDER, root / "tables.key"
    key = json.dumps([source, *fingerprint(data), dataclasses.asdict(chosen), code_digest(SOURCES_CODE)], default=str)
    if out.is_dir() and key_file.exists() and key_file.read_text() == key:
        log.info("Raw tables: as they are in %s", out)
        return out
    log.info("Raw tables: %s -> %s", source, out)
    key_file.unlink(missing_ok=True)
    module.write_tables(data=data, out=out, options=chosen)
    write_text(key_file, key)
    return out


def effective_schema(source: str, dataset: Path, folder: Path, *, extra: Path | None) -> tuple[schema_pb2.Schema, Path]:
    """The schema without what the tables cannot fill, and the file that it is written to.

    The file's name holds a digest of the content, so that a changed schema is a new input to TFX's cache.

    Raises:
        ValueError: a required table is missing or empty of files.
    """
    columns = {table: _columns(dataset, table) for table in tables.TABLES}
    for table in (tables.EVENTS, tables.ITEMS):
        if not columns[table]:
            raise ValueError(f"{dataset / table} must hold at least one non-empty shard of the table {table}.")
    schema = load_schema(source, extra=extra)
    lengths = _vector_lengths(schema, dataset)
    schema, dropped = prune_schema(schema, columns=columns, vector_lengths=lengths)
    if dropped:
        log.info("Switched off: %s", "; ".join(f"{name} ({reason})" for name, reason in dropped.items()))
    return schema, _write_schema(schema, folder)


def catalog_schema(trained: Path, items: Path, folder: Path) -> tuple[schema_pb2.Schema, Path]:
    """The schema of a refresh's catalogue, and the file that it is written to.

    It is the training run's with the base schema's features of further columns, which filters and titles use: no tower reads them.

    Args:
        trained: schema file of the training run.
        items: folder of the new item shards.
        folder: of the schema files that a root keeps.

    Raises:
        ValueError: there is no shard, or a column is missing that the towers were trained with.
    """
    schema = read_schema(trained)
    columns = set().union(*(column_names(path) for path in shards(items, tables.ITEMS)))
    if not columns:
        raise ValueError(f"--items must be a folder with at least one non-empty shard of items. Received: {items}")
    carried = {feature.name for feature in feature_groups(schema).carried_from(tables.ITEMS)}
    if missing := sorted(carried - columns):
        raise ValueError(
            f"--items must have every column that the towers were trained with. Received: {items} without "
            f"{', '.join(missing)}; add the column, or train anew without it."
        )
    for feature in load_schema().feature:
        tags = set(feature.annotation.tag)
        if feature.name in columns - carried and tables.ITEMS in tags and "vector" not in tags:
            schema.feature.add().CopyFrom(feature)
    return schema, _write_schema(schema, folder)


def _write_schema(schema: schema_pb2.Schema, folder: Path) -> Path:
    text = text_format.MessageToString(schema)
    file = folder / f"schema-{hashlib.sha256(text.encode()).hexdigest()[:12]}" / "schema.pbtxt"
    write_text(file, text)
    return file


def source_facts(dataset: Path) -> dict[str, Any]:
    """What the source wrote of itself; empty for tables that a user brought."""
    file = dataset / FACTS_FILE
    return json.loads(file.read_text()) if file.exists() else {"source": "tables", "kind": "", "notice": ""}


def _options(kind: type, values: dict[str, Any]) -> Any:
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    if unknown := set(values) - set(types):
        raise ValueError(f"Unknown option source.{sorted(unknown)[0]}. Options: {', '.join(types) or 'none'}")
    return kind(**{name: configs.convert(value, types[name], name=f"source.{name}") for name, value in values.items()})


def fingerprint(data: Path | None) -> tuple[str, list[tuple[str, int, int]]]:
    """Path, and name, size and time of every file."""
    if data is None or not data.exists():
        return str(data), []
    files = [data] if data.is_file() else sorted(path for path in data.rglob("*") if path.is_file())
    return str(data.resolve()), [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def shards(folder: Path, table: str) -> list[str]:
    """Files of the table but hidden ones; a file stands for itself.

    Raises:
        ValueError: a folder is among them, which nothing would read.
    """
    if not folder.is_dir():
        return [str(folder)] if folder.is_file() else []
    found = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    if nested := next((path for path in found if path.is_dir()), None):
        raise ValueError(
            f"Table {table}: its shards must lie in {folder} itself. Received: the folder {nested}; move its files up. "
            "If the folder's name holds a column's value, as in part=1, write that as a column."
        )
    return [str(path) for path in found]


def _columns(dataset: Path, table: str) -> set[str]:
    return set().union(*(column_names(path) for path in shards(dataset / table, table)))


def _vector_lengths(schema: schema_pb2.Schema, dataset: Path) -> dict[str, int]:
    """Length of each vector column, from the first row that has one."""
    lengths: dict[str, int] = {}
    for table in tables.TABLES:
        wanted = {f.name for f in feature_groups(schema).carried_from(table) if f.treatment == "vector"}
        for shard in shards(dataset / table, table):
            lengths |= _first_lengths(shard, table, wanted - set(lengths))
    return lengths


def _first_lengths(shard: str, table: str, names: set[str]) -> dict[str, int]:
    """Lengths of those of the columns that hold a vector in this shard."""
    names = names & column_names(shard)
    found: dict[str, int] = {}
    for _, frame in read_shard(shard, table) if names else ():
        for name in names - set(found):
            if length := next(filter(None, map(_length, frame[name].dropna())), 0):
                found[name] = length
        if len(found) == len(names):
            break
    return found


def _length(value: Any) -> int:
    """Of a vector; 0 of what is none."""
    try:
        vector = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return 0
    return len(vector) if isinstance(vector, list | np.ndarray) else 0
