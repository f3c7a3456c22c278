import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from plain_softmax import plain_softmax

from trainer import model as model_module
from trainer.config import ARCHITECTURES
from trainer.history import Hiding
from trainer.optimizers import optimizers
from trainer.repeats import Repeats
from trainer.repeats import bonus_of_own
from trainer.repeats import bonuses_of
from trainer.repeats import columns_of
from trainer.run import build_model
from trainer.sampling import NegativeSampler
from trainer.weights import row_weights


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_and_carries_popularity(market, small_config, architecture):
    config = small_config(architecture=architecture, batch_size=8, learning_rate=0.01)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    model.compile(*optimizers(config, total_steps=1))
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


@pytest.fixture(scope="module")
def plain_options():
    """Without any chance: no dropout and nothing hidden."""
    return {
        "dropout": 0.0,
        "item_dropout": 0.0,
        "history_dropout": 0.0,
        "temperature": 0.5,
        "engagement_weight": 0.5,
        "uniform_negatives": 0,
    }


@pytest.fixture(scope="module")
def plain_model(market, plain_options, small_config):
    """Untrained."""
    config = small_config(**plain_options)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    model.repeat_bonus(market.batch(1))
    # Others than those of engagements.
    model.repeat_bonus.set_conversion_constants([1.0, 1.5, 2.0, 0.5, -0.1, 0.2, 0.4, 0.3])
    return model


def plain_loss(model, batch, *, hiding=None):
    """The loss as the towers' outputs give it, in numpy; with `hiding`, of the hidden actions too."""
    items, repeats = (
        batch["item_id_xf"].numpy(),
        model.repeat_bonus(batch, is_engagement=batch["task"] == b"engagement"),
    )
    vectors, rates = model.item_tower(batch).numpy(), batch["positive_rate"].numpy()
    seconds = np.clip(batch["click_duration_s"], 0, 120)
    clicks = np.where(batch["click_duration_s"] < 0, np.log(1.5), np.log1p(seconds / 120)) / np.log(2)
    weights = batch["user_weight"] * np.where(batch["task"] == b"conversion", 1.0, 0.5 * clicks)
    others = bonuses_of(repeats, columns_of(repeats.items, items)).numpy()
    positives = [(items, rates, vectors, weights, np.diag(others), others)]
    if hiding:
        rows = model.catalog.rows(hiding.items)
        shown = model.repeat_bonus(batch, shown=hiding.shown)
        own, others = (
            bonus_of_own(shown, hiding.items).numpy(),
            bonuses_of(shown, columns_of(shown.items, items)).numpy(),
        )
        event_weights = np.array([0.0, 1.0, 0.5])[hiding.events] * batch["user_weight"]  # padding, purchase, click
        found = np.maximum(rows["positive_rate_xf"], rates.min() / 2)
        positives.append((hiding.items.numpy(), found, model.item_tower(rows).numpy(), event_weights, own, others))
    ids, counts, targets, weights, own, others = map(np.concatenate, zip(*positives, strict=True))
    queries = model.query_tower(batch, shown=hiding and hiding.shown).numpy()
    return plain_softmax(
        np.tile(queries, (len(positives), 1)),
        targets,
        vectors,
        positive_ids=ids,
        negative_ids=items,
        positive_counts=counts,
        negative_counts=rates,
        positive_bonuses=own,
        negative_bonuses=others,
        weights=weights,
        temperature=0.5,
    )


def test_loss_is_the_softmax_of_vectors_and_bonuses(market, plain_model):
    batch = {**market.batch(16), "user_weight": tf.linspace(0.2, 1.0, 16)}
    expected = plain_loss(plain_model, batch)
    assert float(plain_model.compute_loss(batch)) == pytest.approx(expected, rel=1e-4)
    # Nothing is hidden: the second positive of every row is padding, which weighs nothing.
    assert float(plain_model.compute_loss(batch, training=True)) == pytest.approx(expected, rel=1e-4)


def test_negatives_are_the_batch_impressions_and_items_of_the_catalogue(market, small_config):
    config = small_config(dropout=0.0, item_dropout=0.0, impression_negatives=100, uniform_negatives=480)
    model = _with_impressions(market, config)
    batch = market.batch(16)
    vectors = model.item_tower.of_heads(batch)
    asked = model._negatives(batch, vectors, training=False)
    np.testing.assert_array_equal(asked.items, batch["item_id_xf"])
    np.testing.assert_allclose(asked.counts, 16 * batch["positive_rate"].numpy(), rtol=1e-5)  # of the batch's 16 rows
    found = model._negatives(batch, vectors, training=True)
    shown, drawn = found.items[16:116].numpy(), found.items[116:].numpy()
    np.testing.assert_array_equal(found.items[:16], batch["item_id_xf"])
    assert set(shown) == {3, 4}
    assert set(drawn) == set(range(1, 25))  # of 24 items, 480 draws miss one with a chance of 24 (23/24) ** 480
    others = model.item_tower.of_heads(model.catalog.rows(found.items[16:]))
    np.testing.assert_allclose(found.vectors, tf.concat([vectors, others], 0), rtol=1e-5)
    rates = np.maximum(model.catalog.rates(found.items), model._sampler._rate_floor)
    impressions = np.where(found.items == 3, 0.75, np.where(found.items == 4, 0.25, 0.0))
    np.testing.assert_allclose(found.counts, 16 * rates + 100 * impressions + 480 / 24, rtol=1e-5)


def _with_impressions(market, config):
    """Of two items, 3 and 4, the first three times as often."""
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    rates = np.zeros(25, np.float32)
    rates[[3, 4]] = 0.75, 0.25
    model._sampler = NegativeSampler(
        model.catalog,
        config,
        rate_floor=model._sampler._rate_floor,
        impression_rates=rates,
        random=tf.random.Generator.from_seed(1),
    )
    return model


@pytest.mark.parametrize("logq", ["none", "standard"])
def test_loss_of_three_sources_is_the_softmax_in_numpy(market, plain_options, small_config, logq):
    config = small_config(**{**plain_options, "impression_negatives": 8, "uniform_negatives": 12, "logq": logq})
    model = _with_impressions(market, config)
    batch = market.batch(16)
    negatives = model._negatives(batch, model.item_tower.of_heads(batch), training=True)
    model._negatives = lambda *_, **__: negatives
    repeats = model.repeat_bonus(batch, is_engagement=batch["task"] == b"engagement")
    others, is_logq = bonuses_of(repeats, columns_of(repeats.items, negatives.items)).numpy(), logq == "standard"
    expected = plain_softmax(
        model.query_tower(batch).numpy(),
        model.item_tower(batch).numpy(),
        negatives.vectors[:, 0].numpy(),
        positive_ids=batch["item_id_xf"].numpy(),
        negative_ids=negatives.items.numpy(),
        positive_counts=negatives.counts[:16].numpy() if is_logq else None,
        negative_counts=negatives.counts.numpy() if is_logq else None,
        positive_bonuses=np.diag(others[:, :16]),
        negative_bonuses=others,
        weights=row_weights({**batch, "user_weight": tf.ones(16)}, config).numpy(),
        temperature=0.5,
    )
    # Nothing is hidden: the second positive of every row is padding, which weighs nothing.
    found = float(model.compute_loss({**batch, "user_weight": tf.ones(16)}, training=True))
    assert found == pytest.approx(expected, rel=1e-4)


def test_each_task_trains_its_own_head_and_the_conversions_are_served(market, plain_options, small_config):
    config = small_config(**{**plain_options, "heads": "multi"})
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = {**market.batch(16), "user_weight": tf.ones(16)}
    np.testing.assert_array_equal(model.query_tower(batch), model.query_tower.of_heads(batch)[:, 0])
    moved = {}
    for task in ("conversion", "engagement"):
        with tf.GradientTape() as tape:
            loss = model.compute_loss({**batch, "task": tf.fill([16], task)})
        last = model.query_tower.trainable_variables[-1]  # of the linear map to both heads, 8 numbers each
        gradient = np.abs(tape.gradient(loss, last).numpy())
        moved[task] = [bool(gradient[:, places].max() > 1e-7) for places in (slice(8), slice(8, 16))]
    assert moved == {"conversion": [True, False], "engagement": [False, True]}


@pytest.mark.parametrize(
    "options",
    [
        {"heads": "multi"},
        {"history_encoder": "transformer"},
        {"logq": "corrected"},
        {"advertiser_loss": "pooled"},
        {"advertiser_loss": "table", "same_advertiser_negatives": False},
        {"advertiser_loss": "soft", "heads": "multi"},
    ],
    ids=str,
)
def test_every_option_trains(market, small_config, options):
    """On one batch: thirty steps lower its loss by a tenth at least."""
    config = small_config(**options, learning_rate=0.01)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    model.compile(*optimizers(config, total_steps=30))
    batch = {**market.batch(64), "user_weight": tf.ones(64)}
    before = float(model.compute_loss(batch))
    step = tf.function(model.train_step, autograph=False)
    for _ in range(30):
        step(batch)
    assert float(model.compute_loss(batch)) < 0.9 * before


def hiding_of_firsts(batch):
    """The first action of each history."""
    items, events = (batch[f"history_{name}_xf"].to_tensor() for name in ("item_id", "event"))
    shown = (items != 0) & (tf.range(items.shape[1]) > 0)
    return Hiding(shown, items[:, 0], events[:, 0])


def test_hidden_actions_are_positives_in_training(market, plain_model, monkeypatch):
    batch = {**market.batch(16), "user_weight": tf.linspace(0.2, 1.0, 16)}
    events = market.tf_transform.vocabulary_by_name("history_event")
    assert events == [b"purchase", b"click"]
    hiding = hiding_of_firsts(batch)
    monkeypatch.setattr(model_module, "hide", lambda *_, **__: hiding)
    found = float(plain_model.compute_loss(batch, training=True))
    assert found == pytest.approx(plain_loss(plain_model, batch, hiding=hiding), rel=1e-4)
    assert found != pytest.approx(plain_loss(plain_model, batch), rel=5e-3)


def test_hidden_actions_teach_the_towers_and_not_the_bonus(market, plain_model, monkeypatch):
    batch = market.batch(16)
    weightless = {"task": tf.fill([16], "engagement"), "click_duration_s": tf.zeros([16])}  # a click of no time
    hiding = hiding_of_firsts(batch)
    monkeypatch.setattr(model_module, "hide", lambda *_, **__: hiding)
    moved = {}
    for name, changes in (("rows and hidden actions", {}), ("hidden actions", weightless)):
        with tf.GradientTape() as tape:
            loss = plain_model.compute_loss({**batch, **changes}, training=True)
        layers = (plain_model.repeat_bonus, plain_model.query_tower, plain_model.item_tower)
        heads = [_own_variable(layer) for layer in layers]
        moved[name] = [
            bool(np.abs(tf.convert_to_tensor(gradient)).max() > 1e-6) for gradient in tape.gradient(loss, heads)
        ]
    assert moved == {"rows and hidden actions": [True, True, True], "hidden actions": [False, True, True]}


def _own_variable(layer):
    """The constants of the bonus, the head of a tower."""
    own = [v for v in layer.trainable_variables if v.shape == (2, 6)] if layer.name == "repeat_bonus" else []
    return own[0] if own else layer.trainable_variables[-1]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_dropout_is_for_training_only(market, small_config, share):
    config = small_config(dropout=share, item_dropout=share)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(64)
    for tower in (model.query_tower, model.item_tower):
        asked = tower(batch).numpy()
        np.testing.assert_array_equal(asked, tower(batch, training=False).numpy())
        moved = np.abs(asked - tower(batch, training=True).numpy()).max(axis=1) > 1e-6
        assert moved.any() == (share > 0)  # with dropout, 64 rows stay as they are with a chance of 1 in 2 ** 64


@pytest.mark.parametrize("history_content", [False, True])
def test_content_enters_histories_by_configuration(market, small_config, history_content):
    config = small_config(history_content=history_content)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(8)
    before = model.query_tower(batch).numpy()
    category = next(v for v in model.query_tower.variables if v.name.startswith("catalog_category"))
    category.assign(tf.zeros_like(category))
    moved = np.abs(model.query_tower(batch).numpy() - before).max() > 1e-6
    assert moved == history_content


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
    repeats = Repeats(queries["bonus_items"], queries["bonuses"])
    scores += bonuses_of(repeats, columns_of(repeats.items, items["item_index"])).numpy()
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
        ("title_tokens", 0, "trainer.title_tokens must be >= 1. Received: 0"),
        ("history_dropout", 1.0, r"trainer.history_dropout must be in \[0, 1\). Received: 1.0"),
        ("conversion_weight", -1.0, "must not be negative, nor both 0"),
    ],
)
def test_a_configuration_that_no_run_could_use_is_refused(small_config, field, value, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(small_config(), **{field: value})
