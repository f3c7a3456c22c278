"""Writes all item vectors of a version as Parquet: `python -m tfx_pipeline.export_vectors --root=DIR --to=FOLDER`.

For teams with an index of their own. A row is `item_id` string, `vector` fixed-size list of float32, `model_version` and
`index_version` (dictionary-encoded). An item's score for a user is the inner product with `embed_query`'s `embedding`, plus the
item's `bonuses` where `bonus_item_ids` names it; vectors of different model versions cannot be mixed.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tfx_pipeline.retriever_artifact import CATALOG_FOLDER
from tfx_pipeline.retriever_records import read_retrievers
from tfx_pipeline.stored_versions import PARTIAL
from tfx_pipeline.stored_versions import served_number
from tfx_pipeline.stored_versions import serving_folder
from tfx_pipeline.stored_versions import stored_versions

_ROWS_PER_GROUP = 65_536
_ROWS_PER_SHARD = 16 * _ROWS_PER_GROUP


class Vectors(NamedTuple):
    """What is exported; the arrays stay on disk until a part is read.

    Attributes:
        item_ids: [items] bytes.
        vectors: [items, dim] float32.
        versions: `model_version` and `index_version`.
    """

    item_ids: np.ndarray
    vectors: np.ndarray
    versions: dict[str, str]


def main(argv: list[str] | None = None) -> int:
    """Parses the arguments, exports; returns 2, with the reason on stderr, where that cannot be."""
    flags = _parse(argv)
    try:
        found = find_vectors(flags.root, flags.version)
        num_shards = export(found, flags.to, rows_per_shard=flags.rows_per_shard)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{len(found.item_ids):,} vectors of version {found.versions['index_version']} in {num_shards} files: {flags.to}"
    )
    return 0


def find_vectors(root: Path, version: int | None) -> Vectors:
    """The vectors that a version was built from.

    Args:
        root: of the runs.
        version: index version; None for the one that is served.

    Raises:
        ValueError: no such version, or its artifact is gone.
    """
    base = serving_folder(root)
    wanted = version or (served_number(stored_versions(base)) if base.is_dir() else None)
    if wanted is None:
        raise ValueError(f"--root must be the root of a run that pushed. Received: {root}, without a version in {base}")
    records = read_retrievers(root)
    if str(wanted) not in records:
        known = ", ".join(sorted(records)) or "none"
        raise ValueError(f"--version must be one of those in ML Metadata: {known}. Received: {wanted}")
    record = records[str(wanted)]
    folder = record.folder / CATALOG_FOLDER
    if not folder.is_dir():
        raise ValueError(f"The vectors of version {wanted} are gone from {folder}. Export them where they were made.")
    item_ids, vectors = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("item_ids", "vectors"))
    return Vectors(item_ids, vectors, {"model_version": record.model_version, "index_version": str(wanted)})


def export(found: Vectors, folder: Path, *, rows_per_shard: int = _ROWS_PER_SHARD) -> int:
    """Writes `part-00000.parquet`, ... to a temporary name beside the folder, then renames; returns the number of files.

    Raises:
        ValueError: the folder is there already, or files without rows are asked for.
    """
    if rows_per_shard < 1:
        raise ValueError(f"--rows_per_shard must be >= 1. Received: {rows_per_shard}")
    if folder.exists():
        raise ValueError(f"--to must be a new folder. Received: {folder}, which exists")
    partial = folder.with_name(f"{PARTIAL}{folder.name}")
    partial.mkdir(parents=True, exist_ok=True)
    for left in partial.glob("*.parquet"):  # of an export that was killed
        left.unlink()
    starts = range(0, len(found.item_ids), rows_per_shard)
    for shard, start in enumerate(starts):
        with parquet.ParquetWriter(partial / f"part-{shard:05d}.parquet", _schema(found)) as writer:
            for group in _groups(found, start, min(start + rows_per_shard, len(found.item_ids))):
                writer.write_table(group)
    partial.rename(folder)
    return len(starts)


def _schema(found: Vectors) -> pa.Schema:
    vector = pa.list_(pa.float32(), found.vectors.shape[1])
    version = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([("item_id", pa.string()), ("vector", vector), *((name, version) for name in found.versions)])


def _groups(found: Vectors, start: int, end: int) -> Iterator[pa.Table]:
    """Row groups of the rows from `start` to `end`."""
    schema = _schema(found)
    for first in range(start, end, _ROWS_PER_GROUP):
        rows = slice(first, min(first + _ROWS_PER_GROUP, end))
        item_ids = pa.array(found.item_ids[rows].astype(object), pa.binary()).cast(pa.string())
        values = pa.array(np.ascontiguousarray(found.vectors[rows], np.float32).ravel())
        vectors = pa.FixedSizeListArray.from_arrays(values, found.vectors.shape[1])
        indices = pa.array(np.zeros(len(item_ids), np.int32))
        versions = [pa.DictionaryArray.from_arrays(indices, [version]) for version in found.versions.values()]
        yield pa.Table.from_arrays([item_ids, vectors, *versions], schema=schema)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.export_vectors", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="of the runs")
    parser.add_argument("--version", type=int, help="index version (the one that is served)")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="to make")
    parser.add_argument("--rows_per_shard", type=int, default=_ROWS_PER_SHARD, help="of a file (%(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
