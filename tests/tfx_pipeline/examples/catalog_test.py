import json

import pytest
import tensorflow as tf

from tfx_pipeline.examples.catalog import CatalogExamples
from tfx_pipeline.examples.encode import encode

KNOWN = [
    {"item_id": "shoe-1", "category": "wear > shoes", "positive_rate": 0.3, "impression_rate": 0.02},
    {"item_id": "shoe-2", "category": "wear > shoes", "positive_rate": 0.1, "impression_rate": 0.01},
    {"item_id": "hat", "category": "wear > hats", "positive_rate": 0.2, "impression_rate": 0.0},
    {"item_id": "pen", "positive_rate": 0.0, "impression_rate": 0.1, "item_conversion_index": -0.5, "price": 2.0},
    {"item_id": "gone", "category": "wear > hats > straw", "positive_rate": 0.4, "impression_rate": 0.0},
]
FEED = [
    {"item_id": "shoe-1", "category": "office", "price": 5.0},  # a known item keeps its rate in another category
    {"item_id": "pen", "price": 3.0},
    {"item_id": "new-shoe", "category": "wear > shoes", "title": "Stiefel"},
    {"item_id": "new-boot", "category": "wear > shoes > boots"},
    {"item_id": "new-sock", "category": "wear > socks"},
    {"item_id": "new-wear", "category": "wear"},
    {"item_id": "new-shoestring", "category": "wear > shoes2"},
    {"item_id": "new-car", "category": "cars"},
    {"item_id": "new-thing"},
    {"item_id": "new-thing"},
    {"item_id": "", "title": "nobody"},
]
# shoes: (0.3 + 0.1) / 2; wear: (0.3 + 0.1 + 0.2 + 0.4) / 4, of items that are gone too; all: that sum / 5
EXPECTED = {
    "shoe-1": 0.3,
    "pen": 0.0,
    "new-shoe": 0.2,
    "new-boot": 0.2,
    "new-sock": 0.25,
    "new-wear": 0.25,
    "new-shoestring": 0.25,
    "new-car": 0.2,
    "new-thing": 0.2,
}


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory, groups, run):
    """Rows by item id with one split of known items, dead letters and counts; by `new_item_popularity`."""
    folder = tmp_path_factory.mktemp("catalog")
    with tf.io.TFRecordWriter(str(folder / "known.gz"), "GZIP") as file:
        for item in KNOWN:
            file.write(encode(item))
    (folder / "feed").mkdir()
    for number, part in enumerate((FEED[:5], FEED[5:])):
        (folder / f"feed/{number}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in part))

    def refresh(popularity):
        transform = CatalogExamples(
            str(folder / "feed"),
            str(folder / "known.gz"),
            groups,
            new_item_popularity=popularity,
            max_id_length=50,
        )
        found = run(transform.expand)
        examples = [
            tf.train.Example.FromString(record).features.feature for rows in found["catalog"] for record in rows
        ]
        rows = {example["item_id"].bytes_list.value[0].decode(): example for example in examples}
        assert len(rows) == len(examples)
        return rows, found["dead_letters"], dict(found["counts"])

    return refresh


@pytest.fixture(scope="module")
def found(refreshed):
    return refreshed(1.0)


def rates(rows):
    return {item_id: row["positive_rate"].float_list.value[0] for item_id, row in rows.items()}


def test_known_items_keep_their_rate_and_new_ones_take_the_mean_of_the_nearest_category(found):
    assert rates(found[0]) == pytest.approx(EXPECTED)


def test_attributes_are_the_feeds_and_performance_is_the_training_runs(found):
    rows, _, _ = found
    assert rows["pen"]["price"].float_list.value[:] == [3.0]
    assert rows["pen"]["item_conversion_index"].float_list.value[:] == [-0.5]
    assert rows["pen"]["impression_rate"].float_list.value[:] == pytest.approx([0.1])
    assert rows["shoe-1"]["category"].bytes_list.value[:] == [b"office"]
    assert rows["new-shoe"]["title"].bytes_list.value[:] == [b"Stiefel"]
    assert "item_conversion_index" not in rows["new-shoe"]
    assert all(len(row["impression_rate"].float_list.value) == 1 for row in rows.values())  # the schema wants it


def test_everything_is_counted(found):
    _, letters, counts = found
    assert counts == {
        "items.rows": 11,
        "items.known": 2,
        "items.new": 7,
        "items.known_but_gone": 3,
        "items.dropped.duplicate_item": 1,
        "dead_letters.items.duplicate_item": 1,
        "dead_letters.items.missing_id": 1,
    }
    assert {json.loads(letter)["reason"] for letter in letters} == {"duplicate_item", "missing_id"}


def test_the_popularity_of_new_items_is_an_option_and_no_share_is_above_1(refreshed):
    found = rates(refreshed(4.5)[0])
    assert found["new-shoe"] == pytest.approx(0.9)  # 4.5 x 0.2
    assert found["new-wear"] == 1.0  # 4.5 x 0.25 would be above it
    assert found["shoe-1"] == pytest.approx(0.3)
