import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from planted_model import embedded
from planted_transform import serialize
from planted_transform import write_records

DIM = 5
NUM_ITEMS = 5000  # more than two batches
RANDOM = np.random.default_rng(5)
ORDER = RANDOM.permutation(NUM_ITEMS)


@pytest.fixture(scope="module")
def number_towers(tmp_path_factory):
    """A SavedModel with the item tower's signature: item `i7` has the vector [7, 8, 9, 10, 11] and the index 8."""
    module = tf.Module()
    module.steps = tf.Variable(tf.range(DIM, dtype=tf.float32))

    @tf.function(autograph=False)
    def embed(examples):
        parsed = tf.io.parse_example(examples, {"item_id": tf.io.FixedLenFeature([], tf.string)})
        number = tf.strings.to_number(tf.strings.substr(parsed["item_id"], 1, -1))
        return {"embedding": number[:, tf.newaxis] + module.steps, "item_index": tf.cast(number, tf.int64) + 1}

    folder = str(tmp_path_factory.mktemp("towers"))
    specs = embed.get_concrete_function(tf.TensorSpec([None], tf.string, name="examples"))
    tf.saved_model.save(module, folder, signatures={"embed_item_examples": specs})
    return folder


def item(number):
    """Every second item has nothing but what it must have."""
    row = {"item_id": f"i{number}", "positive_rate": number / NUM_ITEMS}
    if number % 2:
        row.update(advertiser_id=f"x{number % 7}", category="a > " + "b" * (number % 50), price=float(number))
        row["is_available"] = float(number % 3 > 0)
    return row


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three files of different lengths, one of them empty, in no order."""
    folder = tmp_path_factory.mktemp("examples")
    parts = (ORDER[:4500], ORDER[:0], ORDER[4500:])
    return [
        write_records(folder / f"part-{number}.gz", [serialize(item(place)) for place in part])[0]
        for number, part in enumerate(parts)
    ]


@pytest.fixture(scope="module")
def numbers(number_towers, files, tmp_path_factory):
    return embedded(number_towers, files, tmp_path_factory.mktemp("catalog"))


def test_every_item_is_embedded_once_and_all_arrays_are_sorted_by_id(numbers):
    by_id = sorted(range(NUM_ITEMS), key=lambda number: f"i{number}")
    rows = [item(number) for number in by_id]
    assert numbers.item_ids.tolist() == [row["item_id"].encode() for row in rows]
    np.testing.assert_array_equal(numbers.vectors, np.array(by_id)[:, np.newaxis] + np.arange(DIM))
    np.testing.assert_array_equal(numbers.indices, np.array(by_id) + 1)
    np.testing.assert_allclose(numbers.positive_rates, [row["positive_rate"] for row in rows])
    assert numbers.advertisers.tolist() == [row.get("advertiser_id", "").encode() for row in rows]
    assert numbers.categories.tolist() == [row.get("category", "").encode() for row in rows]
    np.testing.assert_array_equal(numbers.prices, np.array([row.get("price", np.nan) for row in rows], np.float32))
    assert numbers.is_available.tolist() == [bool(row.get("is_available", 1)) for row in rows]
    types = {field.name: getattr(numbers, field.name).dtype.kind for field in dataclasses.fields(numbers)}
    assert "".join(types.values()) == "SffiSSfb"


def test_the_arrays_are_on_disk_and_nothing_else_is(numbers):
    arrays = {field.name: getattr(numbers, field.name) for field in dataclasses.fields(numbers)}
    assert all(isinstance(array, np.memmap) for array in arrays.values())
    folder = Path(numbers.vectors.filename).parent
    assert {path.name for path in folder.iterdir()} == {f"{name}.npy" for name in arrays}


@pytest.mark.e2e  # starts processes that import TensorFlow
def test_two_processes_write_what_one_does(numbers, number_towers, files, tmp_path):
    several = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    found = embedded(number_towers, files, tmp_path, *several)
    for field in dataclasses.fields(numbers):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(numbers, field.name), strict=True)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "The catalog split is empty"),
        (["i3", "i1", "i3", "i2", "i1"], r"Item ids must be unique. Received more than once: \[b'i1', b'i3'\]"),
        (["i3", "inan"], "Item vectors must be finite"),
    ],
)
def test_a_split_that_makes_no_catalogue_is_refused(number_towers, tmp_path, rows, text):
    files = write_records(tmp_path / "part.gz", [serialize({"item_id": row, "positive_rate": 0.0}) for row in rows])
    with pytest.raises(ValueError, match=text):
        embedded(number_towers, files, tmp_path)


def test_the_vectors_are_those_of_the_trained_item_tower(market, market_catalog, trained):
    catalog = market_catalog
    assert catalog.item_ids.tolist() == sorted(row["item_id"].encode() for row in market.catalog)
    rates = {row["item_id"].encode(): row["positive_rate"] for row in market.catalog}
    np.testing.assert_allclose(catalog.positive_rates, [rates[item_id] for item_id in catalog.item_ids])
    train = [row["item_id"].encode() for row in market.train[:16]]
    place = [catalog.item_ids.tolist().index(item_id) for item_id in train]
    batch = market.batch(16)
    np.testing.assert_allclose(catalog.vectors[place], trained.model.item_tower(batch).numpy(), atol=1e-5)
    np.testing.assert_array_equal(catalog.indices[place], batch["item_id_xf"])
