"""Reads the raw tables, in Parquet, CSV or JSON-lines shards, as record batches."""

import gzip
import io
import json
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import chain
from itertools import islice
from typing import Any

import apache_beam as beam
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems

from schemas import tables

FORMATS = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_ROWS_PER_BATCH = 20_000
_UNREADABLE = (
    pa.ArrowInvalid,
    pa.ArrowException,
    OSError,
    EOFError,
    zlib.error,
    UnicodeDecodeError,
    json.JSONDecodeError,
    pd.errors.EmptyDataError,
    pd.errors.ParserError,
)


class ReadShards(beam.PTransform):
    """Yields `(place, frame)`: the shard's path with the first row's number, and a pandas frame of its rows.

    Args:
        folder: of the shards, on any file system that Beam knows.
        table: `events`, `items` or `users`.
    """

    def __init__(self, folder: str, table: str) -> None:
        super().__init__()
        self._pattern = FileSystems.join(folder, "*")
        self._table = table

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Matches the shards, spreads them over workers, reads each."""
        return (
            pipeline
            | "MatchShards" >> fileio.MatchFiles(self._pattern, fileio.EmptyMatchTreatment.ALLOW)
            | "Path" >> beam.Map(lambda match: match.path)
            | "Spread" >> beam.Reshuffle()
            | "ReadShard" >> beam.FlatMap(read_shard, self._table)
        )


class ReadTable(ReadShards):
    """The shards of a table, in the dataset's folder of its name."""

    def __init__(self, dataset: str, table: str) -> None:
        super().__init__(FileSystems.join(dataset, table), table)


def read_shard(path: str, table: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Reads one shard in batches, so that memory does not grow with its size.

    In a frame's columns of objects a missing value is None, and NaN is a number that was written.

    Raises:
        ValueError: an unknown format, an unreadable file or a missing required column; the message names the table,
            the file and the remedy.
    """
    if path.rsplit("/", 1)[-1].startswith((".", "_")):
        return
    if not path.endswith(FORMATS):
        raise ValueError(
            f"Table {table}: cannot read {path}. Shards must end in one of {FORMATS}; move other files away."
        )
    row = 0
    try:
        for frame in _batches(path):
            require_columns(set(frame.columns), path=path, table=table)
            yield f"{path}:{row}", frame
            row += len(frame)
    except _UNREADABLE as error:
        raise _unreadable(error, path=path, table=table, row=row) from error


def _unreadable(error: Exception, *, path: str, table: str, row: int) -> ValueError:
    return ValueError(
        f"Table {table}: {path} cannot be read after row {row}: {error}. The file is truncated or not what its "
        "ending says: write the shard again."
    )


def require_columns(columns: set[str], *, path: str, table: str) -> None:
    """Raises a ValueError that names each missing required column of the table."""
    missing = [name for name, column in tables.TABLES[table].items() if column.required and name not in columns]
    if missing:
        raise ValueError(
            f"Table {table}: {path} has no column {', '.join(repr(name) for name in missing)}. It has: "
            f"{', '.join(sorted(columns))}. Rename or add the column; the data contract is in the README."
        )


def column_names(path: str) -> set[str]:
    """Columns of one shard `<table>/<file>`, from its header or, for JSON lines, its first rows.

    Raises:
        ValueError: an unreadable file; the message names the table, the file and the remedy.
    """
    try:
        if path.endswith(".parquet"):
            with FileSystems.open(path) as file:
                return set(pyarrow.parquet.ParquetFile(file).schema_arrow.names)
        first = next(_batches(path), None)
    except _UNREADABLE as error:
        table = FileSystems.split(FileSystems.split(path)[0])[1]
        raise _unreadable(error, path=path, table=table, row=0) from error
    return set() if first is None else set(first.columns)


def _batches(path: str) -> Iterator[pd.DataFrame]:
    with FileSystems.open(path, compression_type="uncompressed") as raw:
        if path.endswith(".parquet"):
            for batch in pyarrow.parquet.ParquetFile(raw).iter_batches(_ROWS_PER_BATCH):
                yield _to_pandas(batch)
            return
        file: Any = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        text = io.TextIOWrapper(file, encoding="utf-8")
        yield from _csv_batches(text) if path.endswith((".csv", ".csv.gz")) else _json_batches(text)


def _csv_batches(text: io.TextIOWrapper) -> Iterator[pd.DataFrame]:
    for frame in pd.read_csv(text, dtype=str, keep_default_na=False, na_values=[""], chunksize=_ROWS_PER_BATCH):
        if len(frame) and not isinstance(
            frame.index, pd.RangeIndex
        ):  # pandas would take the first columns for an index
            raise pd.errors.ParserError("its rows have more fields than its header")
        yield frame.astype(object).where(frame.notna(), None)


def _json_batches(lines: Iterable[str]) -> Iterator[pd.DataFrame]:
    """Values as they are written: pandas' own reader rounds large integer ids beside a null."""
    written = (line for line in lines if line.strip())
    while batch := list(islice(written, _ROWS_PER_BATCH)):
        rows = [json.loads(line) for line in batch]
        if not all(isinstance(row, dict) for row in rows):
            raise pd.errors.ParserError("a line is not a JSON object")
        names = dict.fromkeys(chain.from_iterable(rows))
        yield pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})


def _to_pandas(batch: pa.RecordBatch) -> pd.DataFrame:
    """Keeps NaN apart from null, which is None: pandas knows one missing number, the contract knows missing and bad."""
    frame = batch.to_pandas(integer_object_nulls=True)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_floating(column.type):
            is_nan = pa.compute.fill_null(pa.compute.is_nan(column), False).to_numpy(zero_copy_only=False)
            if is_nan.any():
                frame[name] = pd.Series(column.to_pylist(), dtype=object)
    return frame
