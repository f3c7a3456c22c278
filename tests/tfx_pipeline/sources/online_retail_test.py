import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from tfx_pipeline.sources import command
from tfx_pipeline.sources import online_retail
from tfx_pipeline.sources.online_retail import Options

PUBLIC = Path(__file__).resolve().parents[3] / "../shared/data/online_retail/online_retail.csv.gz"

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
LINES = """\
536365,85123A,WHITE HEART,6,2010-12-01 08:26:00,2.55,17850.0,France
536365,00071,RED LAMP,2,2010-12-01 08:26:00,3.00,17850,France
536366,85123A,WHITE HEART ,1,2010-12-01 08:28:00,2.95,13047,Spain
536367,85123A,A HEART,1,2010-12-01 08:30:00,2.65,13047,EIRE
536367,00071,BLUE LAMP,1,2010-12-01 08:30:00,4.00,13047,EIRE
C536379,85123A,WHITE HEART,-1,2010-12-01 09:41:00,2.55,17850,France
C536380,D,Discount,-1,2010-12-01 09:42:00,27.50,17850,France
536370,POST,POSTAGE,3,2010-12-01 08:45:00,18.00,17850,France
536370,23444,Next Day Carriage,1,2010-12-01 08:45:00,15.00,17850,France
536370,22633,HAND WARMER,3,2010-12-01 08:45:00,1.85,,France
536370,22634,FREE,3,2010-12-01 08:45:00,0.00,17850,France
536370,22635,BACK,-3,2010-12-01 08:45:00,1.00,17850,France
536370,22636,WORDS,three,2010-12-01 08:45:00,1.00,17850,France
"""


def _tables(data, out, name="events"):
    online_retail.write_tables(data=data, out=out, options=Options())
    return pd.read_parquet(out / name)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "retail.csv"
    path.write_text(HEADER + LINES)
    return path


def test_kept_lines_are_purchases(data, tmp_path):
    events = _tables(data, tmp_path / "raw")
    assert events["user_id"].tolist() == ["17850", "17850", "13047", "13047", "13047"]
    assert events["item_id"].tolist() == ["85123A", "00071", "85123A", "85123A", "00071"]
    assert set(events["event"]) == {"purchase"}
    assert events["value"].tolist() == [15.30, 6.00, 2.95, 2.65, 4.00]  # 6 * 2.55, 2 * 3.00, ...
    assert events["request_id"].tolist() == ["536365", "536365", "536366", "536367", "536367"]
    assert events["timestamp"].iloc[0] == 1_291_191_960_000_000  # date -u -d '2010-12-01 08:26' +%s, and 6 zeros


def test_items_take_the_commonest_description_and_the_median_price(data, tmp_path):
    items = _tables(data, tmp_path / "raw", "items").set_index("item_id")
    assert items.loc["85123A", "title"] == "WHITE HEART"  # 2 of 3, though "A HEART" comes first
    assert items.loc["00071", "title"] == "BLUE LAMP"  # 1 each: the alphabetically first
    assert items.loc["85123A", "price"] == 2.65  # of 2.55, 2.95, 2.65
    assert items.loc["00071", "price"] == 3.5  # of 3 and 4
    assert len(items) == 2


def test_users_take_their_commonest_country(data, tmp_path):
    users = _tables(data, tmp_path / "raw", "users").set_index("user_id")
    assert users["country"].to_dict() == {"17850": "France", "13047": "EIRE"}  # EIRE on 2 of 3 lines


def test_what_is_set_aside_is_counted_by_reason(data, tmp_path):
    _tables(data, tmp_path / "raw")
    facts = json.loads((tmp_path / "raw/source.json").read_text())
    assert facts["set_aside"] == {
        "cancellation (InvoiceNo starts with C)": 2,
        "adjustment (StockCode is no product)": 2,  # POST, 23444
        "no customer": 1,
        "unparsable date": 0,
        "unparsable quantity or price": 1,
        "quantity not positive": 1,
        "price not positive": 1,
    }
    assert facts["rows_read"] == 13 == sum(facts["set_aside"].values()) + facts["rows_written"]["events"]
    assert (facts["source"], facts["kind"]) == ("online_retail", "real")
    assert "CC BY 4.0" in facts["notice"]


@pytest.mark.parametrize("date", ["12/1/2010 8:26", "12/01/2010 08:26", "12/1/10 8:26", "2010-12-01 08:26:00"])
def test_documented_dates_are_read(date, tmp_path):
    (tmp_path / "retail.csv").write_text(f"{HEADER}1,85123A,HEART,1,{date},2.55,17850,France\n")
    assert _tables(tmp_path, tmp_path / "raw")["timestamp"].tolist() == [1_291_191_960_000_000]


def test_a_stray_unparsable_date_is_set_aside(tmp_path):
    lines = "1,85123A,HEART,1,2010-12-01 08:26:00,2.55,17850,France\n" * 199
    (tmp_path / "retail.csv").write_text(f"{HEADER}{lines}1,85123A,HEART,1,soon,2.55,17850,France\n")
    assert len(_tables(tmp_path, tmp_path / "raw")) == 199
    assert json.loads((tmp_path / "raw/source.json").read_text())["set_aside"]["unparsable date"] == 1


def test_gzip_the_other_column_names_and_latin_1_are_read(tmp_path):
    header = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
    text = header + "1,85123A,£5 HEART,2,2010-12-01 08:26:00,2.55,17850,France\n"
    (tmp_path / "retail.csv.gz").write_bytes(gzip.compress(text.encode("latin-1")))
    assert _tables(tmp_path, tmp_path / "raw")["value"].tolist() == [5.10]  # 2 * 2.55
    assert pd.read_parquet(tmp_path / "raw/items")["title"].tolist() == ["£5 HEART"]


def test_a_workbook_with_typed_cells_is_read_like_the_text(data, tmp_path):
    typed = pd.read_csv(data, dtype={"StockCode": str}).iloc[:8]
    typed["InvoiceDate"] = pd.to_datetime(typed["InvoiceDate"])
    typed["Quantity"] = typed["Quantity"].astype(int)
    # A real workbook holds the numeric invoices and codes as numbers; 00071 stays text, as it has leading zeros.
    typed["InvoiceNo"] = [int(number) if number.isdigit() else number for number in typed["InvoiceNo"]]
    typed.to_excel(tmp_path / "retail.xlsx", index=False)
    workbook = _tables(tmp_path / "retail.xlsx", tmp_path / "a")
    pd.testing.assert_frame_equal(workbook, _tables(data, tmp_path / "b"))


def test_exact_duplicates_are_left_to_the_pipeline(tmp_path):
    (tmp_path / "retail.csv").write_text(HEADER + "1,85123A,HEART,1,2010-12-01 08:26:00,2.55,17850,France\n" * 2)
    assert len(_tables(tmp_path, tmp_path / "raw")) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.csv", b"", "is empty"),
        ("r.csv", HEADER.encode(), "columns but no lines"),
        ("r.csv", b"a,b\n1,2\n", r"must have the columns \['InvoiceNo', .*Received: \['a', 'b'\]"),
        ("r.csv.gz", b"plain text", "cannot be read"),
        ("r.csv.gz", gzip.compress((HEADER + LINES).encode(), mtime=0)[:60], "cannot be read"),
        ("r.xlsx", b"plain text", "cannot be read"),
        ("r.csv", (HEADER + "1,85123A,H,1,13.12.2010,2.55,1,F\n").encode(), "Received: '13.12.2010' and 0 more"),
        ("r.csv", (HEADER + "C1,85123A,H,1,2010-12-01 08:26:00,2.55,1,F\n").encode(), "holds no purchase"),
    ],
)
def test_unusable_files_say_why_and_write_nothing(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(command.DataError, match=said):
        _tables(tmp_path / name, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_missing_file_is_named(tmp_path, capsys):
    assert online_retail.main([f"--data={tmp_path / 'none.csv'}", f"--out={tmp_path / 'raw'}"]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_the_public_file_agrees_with_a_plain_filter(tmp_path):
    if not PUBLIC.exists():
        pytest.skip(f"needs the public file {PUBLIC}")
    events = _tables(PUBLIC, tmp_path / "raw")
    lines = pd.read_csv(PUBLIC, dtype={"InvoiceNo": str, "StockCode": str})
    lines = lines[(lines["Quantity"] > 0) & (lines["UnitPrice"] > 0) & lines["CustomerID"].notna()]
    lines = lines[lines["StockCode"].str[0].str.isdigit() & (lines["Description"] != "Next Day Carriage")]
    lines = lines[lines["Description"] != "PACKING CHARGE"]
    assert len(events) == len(lines)
    assert events["value"].sum() == pytest.approx((lines["Quantity"] * lines["UnitPrice"]).sum())
    assert events["user_id"].nunique() == lines["CustomerID"].nunique()
    assert events["item_id"].nunique() == lines["StockCode"].nunique()
