import numpy as np
import pytest
import tensorflow as tf

from trainer.inputs import training_spec
from trainer.run import build_model
from trainer.tables import CatalogTable


@pytest.fixture(scope="module")
def catalog_batch(market):
    """The whole transformed catalogue, as the trainer parses it."""
    names = {feature.transformed_name for feature in market.groups.item}
    spec = {n: v for n, v in training_spec(market.tf_transform, market.groups).items() if n in names}
    records = list(tf.data.TFRecordDataset(market.transformed_files["catalog"], "GZIP"))
    return tf.io.parse_example(records, spec)


@pytest.mark.parametrize("use_performance", [False, True])
def test_an_item_by_its_index_is_the_item_by_its_features(market, small_config, catalog_batch, use_performance):
    # Titles have 6 words, fewer than are kept; the planted catalogue has no performance, which is that of a mean item.
    config = small_config(use_performance=use_performance)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    indices = catalog_batch["item_id_xf"]
    np.testing.assert_allclose(
        model.item_tower(model.catalog.rows(indices)), model.item_tower(catalog_batch), rtol=1e-5, atol=1e-6
    )
    everything = set(range(1, model.catalog.num_items))
    assert set(indices.numpy().tolist()) == everything


def test_rows_are_the_catalogues(market, catalog_batch):
    num_items = len(market.catalog) + 1
    table = CatalogTable(market.groups.item, num_items, title_tokens=2)
    table.fill([{name: value[:5] for name, value in catalog_batch.items()}, catalog_batch])
    order = catalog_batch["item_id_xf"][::-1]
    found = {name: value.numpy() for name, value in table.rows(order).items()}
    assert set(found) == set(catalog_batch)
    for feature in market.groups.item:
        name = feature.transformed_name
        expected = catalog_batch[name]
        if feature.treatment == "text":
            expected = expected.to_tensor()[:, :2]  # the first words
        np.testing.assert_array_equal(found[name], expected.numpy()[::-1], err_msg=name)


def test_an_item_that_the_catalogue_does_not_hold_has_zeros(market, catalog_batch):
    table = CatalogTable(market.groups.item, 40, title_tokens=8)
    unknown = {**catalog_batch, "item_id_xf": tf.zeros_like(catalog_batch["item_id_xf"])}
    table.fill([catalog_batch, unknown])
    for name, value in table.rows(tf.constant([0, 39], tf.int64)).items():
        np.testing.assert_array_equal(
            value.numpy().reshape(2, -1).any(axis=1), [False, name == "item_id_xf"], err_msg=name
        )


def test_content_is_what_an_index_describes(market):
    table = CatalogTable(market.groups.item, 2, title_tokens=8)
    assert {feature.name for feature in table.content} == {"title", "category"}
