"""Streams raw tables to Parquet shards that appear all at once or not at all."""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import tables

_KINDS = {"string": pa.string(), "int64": pa.int64(), "float": pa.float64(), "float_list": pa.list_(pa.float32())}


class TableWriter:
    """Writes `<out>/<table>/part-00000.parquet` and further shards; a context manager.

    Everything is written below `<out>.partial`, which replaces `out` on a clean exit only, so that a killed source
    leaves nothing that a later run takes for a whole dataset.

    Args:
        out: folder of the dataset; an existing one is replaced.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._partial = out.with_name(out.name + ".partial")
        self._num_shards: dict[str, int] = {}
        self._num_rows: dict[str, int] = {}

    def write(self, table: str, frame: pd.DataFrame) -> None:
        """Writes one shard. Contract columns take the contract's type; an empty frame is not written."""
        if frame.empty:
            return
        shard = self._num_shards.get(table, 0)
        folder = self._partial / table
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(_to_arrow(table, frame), folder / f"part-{shard:05d}.parquet")
        self._num_shards[table] = shard + 1
        self._num_rows[table] = self._num_rows.get(table, 0) + len(frame)

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Writes `source.json`: what was read, set aside (by reason) and written, for people and for the run report."""
        self._partial.mkdir(parents=True, exist_ok=True)
        facts = {**facts, "rows_written": dict(self._num_rows)}
        (self._partial / "source.json").write_text(json.dumps(facts, indent=2, default=str) + "\n")

    @property
    def num_rows(self) -> dict[str, int]:
        """Rows written so far, by table."""
        return dict(self._num_rows)

    def __enter__(self) -> "TableWriter":
        """Starts with an empty partial folder."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commits on success; leaves `out` untouched on an error."""
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        if self._out.exists():
            shutil.rmtree(self._out)
        self._partial.rename(self._out)


def _to_arrow(table: str, frame: pd.DataFrame) -> pa.Table:
    contract = tables.TABLES.get(table, {})
    arrays = {
        name: pa.array(frame[name], type=_KINDS[contract[name].kind], from_pandas=True)
        if name in contract
        else pa.array(frame[name], from_pandas=True)
        for name in frame.columns
    }
    return pa.table(arrays)
