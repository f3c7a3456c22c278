import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ARCHITECTURES
from trainer.run import build_model
from trainer.towers import CrossAndDense


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_and_carries_popularity(market, small_config, architecture):
    config = small_config(architecture=architecture, batch_size=8)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.01))
    batch = market.batch(8)
    vectors = [tower(batch).numpy() for tower in (model.query_tower, model.item_tower)]
    for found in vectors:
        assert found.shape == (8, config.output_dim + 1)
        assert np.isfinite(found).all()
    queries, items = vectors
    np.testing.assert_array_equal(queries[:, -1], 1.0)
    popularity = config.temperature * np.log(batch["positive_rate"].numpy())  # every row is a positive: no floor
    np.testing.assert_allclose(items[:, -1], popularity, rtol=1e-5)
    assert np.isfinite(model.train_step(batch)["loss"].numpy())
    for before, tower in zip(vectors, (model.query_tower, model.item_tower), strict=True):
        assert np.abs(tower(batch).numpy() - before).max() > 1e-4  # both towers learned


@pytest.mark.parametrize(
    ("architecture", "width"),
    [("parallel", 5 + 8), ("sequential", 8), ("cross", 5), ("dense", 8)],  # 5 inputs, a dense stack that ends in 8
)
def test_the_head_reads_what_the_architecture_says(small_config, architecture, width):
    body = CrossAndDense(small_config(architecture=architecture), name="body")
    body(tf.ones([2, 5]), tf.zeros([2, 8]))
    assert body.get_weights()[-1].shape == (width, 8)  # the head comes last and has no bias


def test_parallel_concatenates_cross_and_dense(small_config):
    # With one Cross layer x1 = x0 * (W x0 + b) + x0, and one dense layer relu(x0 K + c), by numpy.
    config = small_config(architecture="parallel", num_cross_layers=1, dense_units=(3,))
    body = CrossAndDense(config, name="body")
    x0 = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    own = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    found = body(tf.constant(x0), tf.constant(own)).numpy()
    by_shape = {tuple(v.shape): v.numpy() for v in body.trainable_variables}
    crossed = x0 * (x0 @ by_shape[5, 5] + by_shape[5,]) + x0
    dense = np.maximum(x0 @ by_shape[5, 3] + by_shape[3,], 0)
    combined = np.concatenate([crossed, dense], axis=1) @ by_shape[8, 8] + own
    np.testing.assert_allclose(found, combined, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_dropout_is_for_training_only(market, small_config, share):
    config = small_config(history_dropout=share, item_dropout=share)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(64)
    for tower in (model.query_tower, model.item_tower):
        asked = tower(batch).numpy()
        np.testing.assert_array_equal(asked, tower(batch, training=False).numpy())
        moved = np.abs(asked - tower(batch, training=True).numpy()).max(axis=1) > 1e-6
        assert moved.any() == (share > 0)  # with dropout, 64 rows stay as they are with a chance of 1 in 2 ** 64


def test_performance_enters_the_item_tower_by_configuration(market, small_config):
    batch = market.batch(8)
    changed = {**batch, "item_conversion_index_xf": tf.ones_like(batch["item_conversion_index_xf"])}
    differs = {}
    for use in (False, True):
        config = small_config(use_performance=use)
        model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
        differs[use] = bool(np.abs(model.item_tower(batch).numpy() - model.item_tower(changed).numpy()).max() > 1e-4)
    assert differs == {False: False, True: True}


def test_loss_falls_on_planted_tastes(trained):
    # Before, the logits are the popularity's: log of the columns that are left. Knowing which of the two tastes a query
    # has halves them, log(2) less; 0.9 of that must be learned.
    assert trained.loss_after < trained.loss_before - 0.9 * math.log(2)


def test_planted_tastes_are_retrieved(market, towers):
    """A user of a taste buys among its 12 items: at 12 a perfect model finds every one, popularity about 3 of 4."""
    queries = towers.signatures["embed_query_examples"](examples=tf.constant(market.serialized(market.evaluation)))
    items = towers.signatures["embed_item_examples"](examples=tf.constant(market.serialized(market.catalog)))
    scores = queries["embedding"].numpy() @ items["embedding"].numpy().T
    ids = np.array([row["item_id"] for row in market.catalog])
    bought = [row["item_id"] for row in market.evaluation]
    found = [item in ids[np.argsort(-row)[:12]] for item, row in zip(bought, scores, strict=True)]
    popular = ids[np.argsort([-row["positive_rate"] for row in market.catalog])[:12]]
    popularity = np.mean([item in popular for item in bought])
    assert popularity < 0.9
    assert np.mean(found) > max(0.95, popularity)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("architecture", "deep", "trainer.architecture must be one of .* Received: 'deep'"),
        ("output_dim", 0, "trainer.output_dim must be >= 1. Received: 0"),
        ("temperature", 0.0, "trainer.temperature must be positive. Received: 0.0"),
        ("history_dropout", 1.0, r"trainer.history_dropout must be in \[0, 1\). Received: 1.0"),
        ("conversion_weight", -1.0, "must not be negative, nor both 0"),
    ],
)
def test_a_configuration_that_no_run_could_use_is_refused(small_config, field, value, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(small_config(), **{field: value})
