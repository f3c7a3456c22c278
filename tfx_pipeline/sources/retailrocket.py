"""RetailRocket: the real views, add-to-carts and transactions of an online shop as events and items.

The files are the user's own copy of the public data set. `events.csv` is enough; the item properties and the category
tree beside it, where present, add each item's category. There are no impressions, users' attributes, titles or prices.

    python -m tfx_pipeline.sources.retailrocket --data=folder --out=raw
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources.writer import TableWriter

NOTICE = "RetailRocket recommender system dataset. Terms: CC BY-NC-SA 4.0."

_EVENT_TYPES = {"view": tables.CLICK, "addtocart": tables.ADD_TO_CART, "transaction": tables.PURCHASE}
_EVENT_COLUMNS = ["timestamp", "visitorid", "event", "itemid"]
_PROPERTY_COLUMNS = ["timestamp", "itemid", "property", "value"]
_TREE_COLUMNS = ["categoryid", "parentid"]
_PROPERTY_FILES = ("item_properties_part1", "item_properties_part2")
_TREE_FILE = "category_tree"
_CATEGORY = "categoryid"
_CHUNK_ROWS = 500_000
_MAX_MILLISECONDS = 2**63 // 1000 - 1  # the largest whose microseconds fit the contract's int64


@dataclasses.dataclass(frozen=True)
class Options:
    """What to write.

    Attributes:
        only_event_items: whether items that have properties but no event are left out.
    """

    only_event_items: bool = True


def write_tables(*, data: Path | None, out: Path, options: Options) -> None:
    """Writes the raw tables of the contract, one shard of events per chunk of the file.

    Args:
        data: `events.csv` or `events.csv.gz`, or the folder that holds exactly one of them.
        out: folder of the raw tables; an existing one is replaced.
        options: see `Options`.

    Raises:
        FileNotFoundError: there is no such file.
        command.DataError: a file is empty or damaged, lacks a column, or holds no usable event.
    """
    path = command.find_file(data, ("events.csv", "events.csv.gz"))
    counts: Counter[str] = Counter()
    items: set[str] = set()
    num_rows, last_timestamp = 0, 0
    with TableWriter(out) as writer:
        for chunk in _chunks(path, _EVENT_COLUMNS):
            events, aside = _events(chunk)
            num_rows += len(chunk)
            counts.update(aside)
            items.update(events["item_id"].unique())
            last_timestamp = max(last_timestamp, events["timestamp"].max() if len(events) else 0)
            writer.write(tables.EVENTS, events)
        if not items:
            raise command.DataError(
                f"{path} holds no usable event. Received: {num_rows} rows, set aside as {dict(counts)}."
            )
        writer.write(tables.ITEMS, _items(path.parent, items, last_timestamp=last_timestamp, options=options))
        writer.write_facts(
            {
                "source": "retailrocket",
                "kind": command.KIND_REAL,
                "notice": NOTICE,
                "rows_read": num_rows,
                "set_aside": dict(counts),
                "options": dataclasses.asdict(options),
            }
        )


def _chunks(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """The file's rows in chunks, as strings, with progress on stderr."""
    with (
        command.reading(path),
        pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=_CHUNK_ROWS) as chunks,
        tqdm(desc=path.name, unit="row", unit_scale=True, file=sys.stderr) as progress,
    ):
        for chunk in chunks:
            command.require_columns(path, received=chunk.columns, required=columns)
            yield chunk[columns]
            progress.update(len(chunk))


def _events(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    milliseconds = pd.to_numeric(rows["timestamp"], errors="coerce")
    reasons = {
        "unknown event kind": ~rows["event"].isin(_EVENT_TYPES),
        "no visitor or item": (rows["visitorid"] == "") | (rows["itemid"] == ""),
        "unparsable timestamp": ~milliseconds.between(1, _MAX_MILLISECONDS),
    }
    kept, counts = command.set_aside(rows, reasons)
    events = pd.DataFrame(
        {
            "user_id": kept["visitorid"],
            "item_id": kept["itemid"],
            "event": kept["event"].map(_EVENT_TYPES),
            "timestamp": milliseconds[kept.index].astype("int64") * 1000,
        }
    )
    return events, counts


def _items(folder: Path, in_events: set[str], *, last_timestamp: int, options: Options) -> pd.DataFrame:
    """Every item, with its latest category at the end of the events where the properties tell it."""
    categories, in_properties = _categories(folder, last_timestamp=last_timestamp)
    wanted = sorted(in_events if options.only_event_items else in_events | in_properties)
    items = pd.DataFrame({"item_id": wanted})
    if not categories.empty:
        paths = _category_paths(folder, categories.unique())
        items["category"] = items["item_id"].map(categories).map(paths)
    return items


def _categories(folder: Path, *, last_timestamp: int) -> tuple[pd.Series, set[str]]:
    """The category id by item id, and the ids of all items that have properties."""
    latest = pd.DataFrame(columns=_PROPERTY_COLUMNS)
    in_properties: set[str] = set()
    for path in [path for name in _PROPERTY_FILES if (path := _optional(folder, name)) is not None]:
        for chunk in _chunks(path, _PROPERTY_COLUMNS):
            in_properties.update(chunk["itemid"].unique())
            rows = chunk[chunk["property"] == _CATEGORY]
            rows = rows.assign(timestamp=pd.to_numeric(rows["timestamp"], errors="coerce") * 1000)
            rows = pd.concat([latest, rows[rows["timestamp"] <= last_timestamp]])
            latest = rows.sort_values("timestamp", kind="stable").drop_duplicates("itemid", keep="last")
    return latest.set_index("itemid")["value"], in_properties


def _category_paths(folder: Path, leaves: Iterable[str]) -> dict[str, str]:
    """`root > ... > leaf` by leaf; the leaf alone without a tree. A cycle is cut where it closes."""
    path = _optional(folder, _TREE_FILE)
    parents: dict[str, str] = {}
    for chunk in _chunks(path, _TREE_COLUMNS) if path is not None else ():
        parents.update(zip(chunk["categoryid"], chunk["parentid"].str.replace(r"\.0$", "", regex=True), strict=True))
    return {leaf: tables.CATEGORY_SEPARATOR.join(_ancestors(leaf, parents)) for leaf in leaves}


def _ancestors(leaf: str, parents: dict[str, str]) -> list[str]:
    path = [leaf]
    while (parent := parents.get(path[0], "")) and parent not in path:
        path.insert(0, parent)
    return path


def _optional(folder: Path, name: str) -> Path | None:
    """The file `name`, plain or gzipped, where the folder has it."""
    names = [f"{name}.csv", f"{name}.csv.gz"]
    return command.find_file(folder, names) if any((folder / name).exists() for name in names) else None


def main(argv: list[str] | None = None) -> int:
    """Runs the source from the command line."""
    return command.run(__doc__, Options, write_tables, argv, data_required=True)


if __name__ == "__main__":
    sys.exit(main())
