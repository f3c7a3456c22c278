import numpy as np
import pytest
from planted_catalog import catalog_of
from planted_transform import serialize
from planted_transform import write_records

from tfx_pipeline.evaluation.facts import first_positives
from tfx_pipeline.evaluation.facts import known_before
from tfx_pipeline.evaluation.facts import row_facts

DAY_US = 86_400_000_000
IDS = np.array([b"a", b"b", b"c", b"d", b"e"])


@pytest.fixture
def catalog():
    return catalog_of(
        IDS,
        np.eye(5),
        positive_rates=np.array([0.5, 0.25, 0.15, 0.1, 0.0], np.float32),
        advertisers=np.array([b"x", b"y", b"z", b"", b"z"]),
        categories=np.array([b"food > bread", b"food", b"toys > balls", b"", b"toys"]),
        prices=np.array([1, 2, 3, np.nan, 9], np.float32),
    )


def test_rows_fall_into_slices(catalog):
    rows = [
        {
            "user_id": "u",
            "event": "purchase",
            "timestamp_us": 10 * DAY_US,
            "surface": "home",
            "value": 3.5,
            "country": "FR",
        },
        {"user_id": "v", "event": "purchase", "timestamp_us": 40 * DAY_US, "history_item_id": ["a"] * 5},
        {
            "user_id": "v",
            "event": "add_to_cart",
            "timestamp_us": 200 * DAY_US,
            "history_item_id": ["a"] * 6,
            "value": -1.0,
        },
        {
            "user_id": "w",
            "event": "purchase",
            "timestamp_us": 9 * DAY_US,
            "history_item_id": ["a"] * 21,
            "country": "DE",
        },
        {"user_id": "w", "event": "purchase", "timestamp_us": 9 * DAY_US},
    ]
    first_us = np.array([3, 20, 10, 9, 0]) * DAY_US
    found = row_facts([serialize(row) for row in rows], np.arange(5), catalog, first_us, ("country",))
    assert found.users.tolist() == ["u", "v", "v", "w", "w"]
    assert found.events.tolist() == ["purchase", "purchase", "add_to_cart", "purchase", "purchase"]
    np.testing.assert_array_equal(found.values, [3.5, np.nan, 0.0, np.nan, np.nan])
    assert {name: values.tolist() for name, values in found.slices.items()} == {
        "surface": ["home", "unknown", "unknown", "unknown", "unknown"],
        "history_length": ["0", "1-5", "6-20", "21+", "0"],
        # Of the 0.9 that have an advertiser x comes first, y after 0.5 / 0.9 and z after 0.75 / 0.9.
        "advertiser_size": ["large", "medium", "small", "unknown", "small"],
        "category": ["food", "food", "toys", "unknown", "toys"],
        "price_band": ["up to 2.00", "up to 2.00", "up to 3.00", "unknown", "above"],  # thirds of 1, 2, 3 and 9
        "cold_item": ["sold before"] * 4 + ["no train positive"],
        "item_age": ["up to 7 days", "up to 28 days", "older", "up to 7 days", "no train positive"],
        "country": ["FR", "unknown", "unknown", "DE", "unknown"],
    }


def test_no_rows_have_slices_too(catalog):
    found = row_facts([], np.zeros(0, int), catalog, np.zeros(5, int), ())
    assert len(found.users) == len(found.slices["surface"]) == len(found.slices["price_band"]) == 0


def test_the_first_positive_of_each_item_is_found(catalog, tmp_path):
    rows = [("b", 30), ("a", 20), ("b", 10), ("gone", 1)]
    files = write_records(
        tmp_path / "train.gz", [serialize({"item_id": item, "timestamp_us": moment}) for item, moment in rows]
    )
    found = first_positives(files, catalog)
    assert found[:2].tolist() == [20, 10]
    assert (found[2:] > 100 * 365 * DAY_US).all()


def test_what_users_had_before_is_read(catalog, tmp_path):
    rows = [
        {"user_id": "u", "known_item_ids": ["c", "a", "gone"]},
        {"user_id": "v", "known_item_ids": ["b"]},
        {"user_id": "w"},
    ]
    files = write_records(tmp_path / "queries.gz", [serialize(row) for row in rows])
    found = known_before(files, {b"u", b"w", b"x"}, catalog)
    assert {user: places.tolist() for user, places in found.items()} == {b"u": [0, 2], b"w": []}
