"""UCI Online Retail: the real invoice lines of a UK gift shop as purchases, items and users.

Chen, D. (2015), Online Retail, UCI Machine Learning Repository, doi 10.24432/C5BW33. The file is the user's own copy,
as published (.xlsx) or as .csv; the names of Online Retail II's columns are accepted too. It holds purchases only: no
clicks, impressions or advertisers. Times are the shop's local ones, taken as UTC.

    python -m tfx_pipeline.sources.online_retail --data=online_retail.csv.gz --out=raw
"""

import dataclasses
import sys
from pathlib import Path

import pandas as pd

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources.writer import TableWriter

NOTICE = "Chen, D. (2015), Online Retail, UCI Machine Learning Repository, doi 10.24432/C5BW33. Terms: CC BY 4.0."

_FILES = ("*.csv", "*.csv.gz", "*.xlsx")
_OTHER_NAMES = {"Invoice": "InvoiceNo", "Price": "UnitPrice", "Customer ID": "CustomerID"}
_COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
_DATE_FORMATS = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%y %H:%M")
_MAX_UNPARSABLE_DATES = 0.01  # share of lines; above it the format is taken to be another one
_PRODUCT_CODE = r"\d{5}"
_CHARGE_CODES = ("23444", "23574")  # "Next Day Carriage", "PACKING CHARGE": coded like products


@dataclasses.dataclass(frozen=True)
class Options:
    """No choices: the whole file is read."""


def write_tables(*, data: Path | None, out: Path, options: Options) -> None:
    """Writes the raw tables of the contract.

    Args:
        data: the public file, or a folder that holds exactly one .csv, .csv.gz or .xlsx file.
        out: folder of the raw tables; an existing one is replaced.
        options: none.

    Raises:
        FileNotFoundError: there is no such file.
        command.DataError: it is empty or damaged, lacks a column, or its dates are of an unknown format.
    """
    path = command.find_file(data, _FILES)
    print(f"Reading {path}", file=sys.stderr)
    published = _read(path)
    lines, counts = _clean(_typed(published, path))
    if lines.empty:
        raise command.DataError(f"{path} holds no purchase. Received: {len(published)} lines, set aside as {counts}.")
    print(f"Writing {len(lines):,} of {len(published):,} lines to {out}", file=sys.stderr)
    with TableWriter(out) as writer:
        writer.write(tables.EVENTS, _purchases(lines))
        writer.write(tables.ITEMS, _items(lines))
        writer.write(tables.USERS, _users(lines))
        writer.write_facts(
            {
                "source": "online_retail",
                "kind": command.KIND_REAL,
                "notice": NOTICE,
                "rows_read": len(published),
                "set_aside": counts,
                "options": dataclasses.asdict(options),
            }
        )


def _read(path: Path) -> pd.DataFrame:
    """All lines, every column as stripped strings under UCI's first names."""
    with command.reading(path):
        if path.suffix == ".xlsx":
            sheets = pd.read_excel(path, sheet_name=None, dtype=str, keep_default_na=False)
            lines = pd.concat(list(sheets.values()), ignore_index=True).fillna("")
        else:
            lines = _read_csv(path)
    lines = lines.rename(columns=lambda name: _OTHER_NAMES.get(name.strip(), name.strip()))
    command.require_columns(path, received=lines.columns, required=_COLUMNS)
    if lines.empty:
        raise command.DataError(f"The file has columns but no lines. Received: {path}; download it again.")
    return lines[list(_COLUMNS)].apply(lambda column: column.str.strip())


def _read_csv(path: Path) -> pd.DataFrame:
    """UCI's own export is UTF-8; copies saved by spreadsheets are Latin-1, for the pound sign in descriptions."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="latin-1")


def _typed(lines: pd.DataFrame, path: Path) -> pd.DataFrame:
    return lines.assign(
        Quantity=pd.to_numeric(lines["Quantity"], errors="coerce"),
        UnitPrice=pd.to_numeric(lines["UnitPrice"], errors="coerce"),
        CustomerID=lines["CustomerID"].str.replace(r"\.0$", "", regex=True),
        InvoiceDate=_dates(lines["InvoiceDate"], path),
    )


def _dates(texts: pd.Series, path: Path) -> pd.Series:
    """The documented format that reads most lines; NaT where it does not."""
    parsed = [pd.to_datetime(texts, format=known, errors="coerce") for known in _DATE_FORMATS]
    best = min(parsed, key=lambda dates: dates.isna().sum())
    unknown = best.isna()
    if unknown.mean() > _MAX_UNPARSABLE_DATES:
        raise command.DataError(
            f"InvoiceDate in {path} must be as published, in one of the formats {list(_DATE_FORMATS)}. "
            f"Received: {texts[unknown].iloc[0]!r} and {unknown.sum() - 1} more; convert the column."
        )
    return best


def _clean(lines: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """A product's code starts with five digits and is not a carriage or packing charge; others are adjustments."""
    code = lines["StockCode"]
    reasons = {
        "cancellation (InvoiceNo starts with C)": lines["InvoiceNo"].str.startswith(("C", "c")),
        "adjustment (StockCode is no product)": ~code.str.match(_PRODUCT_CODE) | code.isin(_CHARGE_CODES),
        "no customer": lines["CustomerID"] == "",
        "unparsable date": lines["InvoiceDate"].isna(),
        "unparsable quantity or price": lines["Quantity"].isna() | lines["UnitPrice"].isna(),
        "quantity not positive": lines["Quantity"] <= 0,
        "price not positive": lines["UnitPrice"] <= 0,
    }
    return command.set_aside(lines, reasons)


def _purchases(lines: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": lines["CustomerID"],
            "item_id": lines["StockCode"],
            "event": tables.PURCHASE,
            "timestamp": lines["InvoiceDate"].astype("int64") // 1000,
            "value": (lines["Quantity"] * lines["UnitPrice"]).round(4),
            "request_id": lines["InvoiceNo"],
        }
    )


def _items(lines: pd.DataFrame) -> pd.DataFrame:
    titles = _commonest(lines[lines["Description"] != ""], by="StockCode", column="Description")
    prices = lines.groupby("StockCode")["UnitPrice"].median()
    return pd.DataFrame(
        {"item_id": prices.index, "title": titles.reindex(prices.index).to_numpy(), "price": prices.array}
    )


def _users(lines: pd.DataFrame) -> pd.DataFrame:
    countries = _commonest(lines, by="CustomerID", column="Country")
    return pd.DataFrame({"user_id": countries.index, "country": countries.to_numpy()})


def _commonest(lines: pd.DataFrame, *, by: str, column: str) -> pd.Series:
    """The commonest value of `column` per `by`; the alphabetically first among equals."""
    counts = lines.groupby([by, column]).size().rename("lines").reset_index()
    ordered = counts.sort_values([by, "lines", column], ascending=[True, False, True])
    return ordered.drop_duplicates(by).set_index(by)[column]


def main(argv: list[str] | None = None) -> int:
    """Runs the source from the command line."""
    return command.run(__doc__, Options, write_tables, argv, data_required=True)


if __name__ == "__main__":
    sys.exit(main())
