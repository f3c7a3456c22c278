import importlib.util
import json

import pandas as pd
import pytest

from tfx_pipeline.sources import command
from tfx_pipeline.sources import complete_journey
from tfx_pipeline.sources import complete_journey_files
from tfx_pipeline.sources.complete_journey import Options

PRODUCTS = pd.DataFrame(
    [
        (10, 1, "GROCERY", "National", "COLD CEREAL", "KIDS CEREAL", "14 OZ"),
        (11, 69, "GROCERY", "Private", "SOUP", "DRY SOUP", None),
        (12, 2, "MISC", "National", None, None, None),
        (13, 3, "DRUG GM", "National", "VITAMINS", "MINERALS", "30 CT"),
        (14, 3, "DRUG GM", "National", "VITAMINS", "HERBS", "30 CT"),
    ],
    columns=[
        "product_id", "manufacturer_id", "department", "brand", "product_category", "product_type", "package_size"
    ],
)  # fmt: skip
NOON = pd.Timestamp("2017-01-01 12:00:00")
LINES = pd.DataFrame(
    [
        (1, 7, 100, 10, 2, 5.0, 1, NOON),
        (1, 7, 100, 11, 1, 3.0, 1, NOON),
        (1, 7, 100, 12, 1, 0.0, 1, NOON),  # free: no purchase, but taken
        (2, 8, 101, 10, 1, 3.5, 1, NOON),
        (2, 8, 102, 10, 4, 8.0, 2, NOON + pd.Timedelta(days=7)),
        (2, 8, 102, 11, 0, 1.0, 2, NOON + pd.Timedelta(days=7)),
        (2, 8, 102, 99, 1, 1.0, 2, NOON + pd.Timedelta(days=7)),  # no such product
    ],
    columns=[
        "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "week",
        "transaction_timestamp",
    ],
)  # fmt: skip
PROMOTIONS = pd.DataFrame(
    [
        (10, 7, "1", "0", 1),  # bought in basket 100
        (12, 7, "1", "0", 1),  # taken for free in basket 100
        (13, 7, "9", "0", 1),
        (13, 7, "0", "A", 1),  # also in the mailer, which names it
        (14, 7, "A", "0", 1),
        (11, 7, "0", "0", 1),  # not promoted at all
        (13, 8, "0", "D", 2),
    ],
    columns=["product_id", "store_id", "display_location", "mailer_location", "week"],
)
DEMOGRAPHICS = pd.DataFrame(
    [(1, "65+", "35-49K", "Homeowner", None, "2", "2 Adults No Kids", "0")],
    columns=[
        "household_id", "age", "income", "home_ownership", "marital_status", "household_size", "household_comp",
        "kids_count",
    ],
)  # fmt: skip


def _save(folder, **changed):
    whole = {"products": PRODUCTS, "transactions": LINES, "promotions": PROMOTIONS, "demographics": DEMOGRAPHICS}
    folder.mkdir(exist_ok=True)
    for name, frame in {**whole, **changed}.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


@pytest.fixture
def data(tmp_path):
    return _save(tmp_path / "data")


def _tables(data, out, name="events", **options):
    complete_journey.write_tables(data=data, out=out, options=Options(**options))
    return pd.read_parquet(out / name)


def _pairs(events, kind):
    chosen = events[events["event"] == kind]
    return sorted(zip(chosen["request_id"], chosen["item_id"], chosen["surface"], strict=True))


def test_lines_are_purchases(data, tmp_path):
    events = _tables(data, tmp_path / "raw")
    bought = [("100", "10"), ("100", "11"), ("101", "10"), ("102", "10")]
    assert _pairs(events, "purchase") == [(basket, item, "unknown") for basket, item in bought]
    purchases = events[events["event"] == "purchase"]
    assert purchases["value"].tolist() == [5.0, 3.0, 3.5, 8.0]
    assert purchases["user_id"].tolist() == ["1", "1", "2", "2"]
    assert purchases["store"].tolist() == ["7", "7", "8", "8"]
    # date -u -d '2017-01-01 12:00' +%s is 1483272000; a week is 604800 s.
    assert purchases["timestamp"].unique().tolist() == [1_483_272_000_000_000, 1_483_876_800_000_000]


def test_impressions_are_promoted_in_the_store_and_week_and_not_taken(data, tmp_path):
    events = _tables(data, tmp_path / "raw")
    # Basket 101's store has no promotion in its week.
    assert _pairs(events, "impression") == [("100", "13", "mailer"), ("100", "14", "display"), ("102", "13", "mailer")]
    shown = events[events["event"] == "impression"].iloc[0]
    assert (shown["user_id"], shown["store"], shown["timestamp"]) == ("1", "7", 1_483_272_000_000_000)
    assert pd.isna(shown["value"])


def test_impressions_are_capped_uniform_and_seeded(tmp_path):
    lines = pd.concat([LINES.head(3).assign(basket_id=basket) for basket in range(400)])
    data = _save(tmp_path / "data", transactions=lines)
    first, again, other = (
        _pairs(_tables(data, tmp_path / name, impressions_per_basket=1, seed=seed), "impression")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert len({basket for basket, _, _ in first}) == len(first) == 400
    # Products 13 and 14 are equally likely: 200 each, standard deviation sqrt(400 / 4) = 10; four of them allowed.
    assert 160 <= sum(item == "13" for _, item, _ in first) <= 240
    assert first == again
    assert first != other


def test_a_baskets_sample_does_not_depend_on_the_slice(data, tmp_path):
    options = {"impressions_per_basket": 1, "seed": 5}
    whole = _pairs(_tables(data, tmp_path / "a", **options), "impression")
    sliced = _pairs(_tables(data, tmp_path / "b", last_week=1, **options), "impression")
    assert sliced == [pair for pair in whole if pair[0] == "100"]


def test_no_impressions_on_request(data, tmp_path):
    (data / "promotions.parquet").unlink()  # nor are the promotions needed
    assert set(_tables(data, tmp_path / "raw", impressions_per_basket=0)["event"]) == {"purchase"}


def test_baskets_in_stores_without_promotions_have_no_impressions(tmp_path):
    data = _save(tmp_path / "data", promotions=PROMOTIONS.assign(store_id=9))
    assert set(_tables(data, tmp_path / "raw")["event"]) == {"purchase"}


def test_items_are_all_products(data, tmp_path):
    items = _tables(data, tmp_path / "raw", "items").set_index("item_id")
    assert items["category"].to_dict() == {
        "10": "GROCERY > COLD CEREAL > KIDS CEREAL",
        "11": "GROCERY > SOUP > DRY SOUP",
        "12": "MISC",
        "13": "DRUG GM > VITAMINS > MINERALS",
        "14": "DRUG GM > VITAMINS > HERBS",
    }
    assert items.loc["10", "title"] == "Kids cereal, 14 oz, national brand"
    assert items.loc["11", "title"] == "Dry soup, private brand"
    assert items.loc["12", "title"] == "Misc, national brand"
    assert items.loc["10", "price"] == 2.5  # the median of 5 / 2, 3.5 / 1 and 8 / 4
    assert items.loc["11", "price"] == 3.0
    assert items["price"].isna().tolist() == [False, False, True, True, True]
    assert items["advertiser_id"].tolist() == ["1", "69", "2", "3", "3"]
    assert items["brand"].tolist() == ["National", "Private", "National", "National", "National"]


def test_items_may_be_those_in_the_events_only(data, tmp_path):
    items = _tables(data, tmp_path / "raw", "items", only_sold_items=True)
    assert items["item_id"].tolist() == ["10", "11", "13", "14"]


def test_users_are_all_households(data, tmp_path):
    users = _tables(data, tmp_path / "raw", "users").set_index("user_id")
    assert users.loc["1"].dropna().to_dict() == {
        "age": "65+",
        "income": "35-49K",
        "home_ownership": "Homeowner",
        "household_size": "2",
        "household_comp": "2 Adults No Kids",
        "kids_count": "0",
    }
    assert users.loc["2"].isna().all()
    assert len(users) == 2


def test_what_is_set_aside_is_counted_by_reason(data, tmp_path):
    _tables(data, tmp_path / "raw", first_week=2)
    facts = json.loads((tmp_path / "raw/source.json").read_text())
    assert facts["set_aside"] == {
        "week outside first_week..last_week": 4,
        "household not in household_share": 0,
        "product not in products": 1,
        "quantity not positive": 1,
        "sales_value not positive": 0,
    }
    assert facts["rows_read"] == 7
    assert facts["rows_written"] == {"events": 2, "items": 5, "users": 2}  # 7 - 6 purchases, 1 impression
    assert facts["promotions_read"] == 1
    assert facts["kind"] == "public panel, labelled simulated"
    assert "This package contains simulated data based on real grocery shopping patterns." in facts["notice"]
    assert facts["options"]["first_week"] == 2


def test_a_share_of_the_households_is_chosen_by_seed(tmp_path):
    lines = pd.concat([LINES.head(1).assign(household_id=household, basket_id=household) for household in range(400)])
    data = _save(tmp_path / "data", transactions=lines)
    few = set(_tables(data, tmp_path / "a", household_share=0.25)["user_id"])
    more = set(_tables(data, tmp_path / "b", household_share=0.5)["user_id"])
    other = set(_tables(data, tmp_path / "c", household_share=0.25, seed=1)["user_id"])
    # Of 400 households a quarter is 100, standard deviation sqrt(400 * 0.25 * 0.75) = 8.7: four of them allowed.
    assert 65 <= len(few) <= 135
    assert few < more
    assert few != other
    assert set(pd.read_parquet(tmp_path / "a/users")["user_id"]) == few


def test_promotions_are_read_in_batches(data, tmp_path, monkeypatch):
    whole = _tables(data, tmp_path / "a")
    monkeypatch.setattr(complete_journey_files, "_BATCH_ROWS", 2)
    pd.testing.assert_frame_equal(_tables(data, tmp_path / "b"), whole)


def test_unsorted_promotions_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(complete_journey_files, "_BATCH_ROWS", 1)
    _save(data, promotions=PROMOTIONS.iloc[::-1])
    with pytest.raises(command.DataError, match=r"sorted by week\. Received: 1 after 2"):
        _tables(data, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert complete_journey.main([f"--out={tmp_path / 'raw'}"]) == 2
    assert "install the extra `demo`" in capsys.readouterr().err


def test_unusable_folders_say_why(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a folder of Parquet files"):
        _tables(data / "products.parquet", tmp_path / "raw")
    (data / "demographics.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no demographics\.parquet"):
        _tables(data, tmp_path / "raw")
    (data / "demographics.parquet").write_text("not parquet")
    with pytest.raises(command.DataError, match=r"cannot be read. Received: .*demographics\.parquet"):
        _tables(data, tmp_path / "raw")
    _save(data, demographics=DEMOGRAPHICS.drop(columns="age"))
    with pytest.raises(command.DataError, match=r"must have the columns \['age'\]"):
        _tables(data, tmp_path / "raw")


def test_an_empty_slice_is_refused(data, tmp_path):
    with pytest.raises(command.DataError, match="No purchase is left"):
        _tables(data, tmp_path / "raw", first_week=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_week": 0},
        {"last_week": 54},
        {"first_week": 9, "last_week": 8},
        {"household_share": 0.0},
        {"household_share": 1.1},
        {"impressions_per_basket": -1},
        {"seed": -1},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"Received: .*{list(wrong.values())[-1]}"):
        Options(**wrong)
