import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from trainer.export import Towers
from trainer.fit import fit
from trainer.history import latest_actions
from trainer.inputs import MIN_VALIDATION_ROWS
from trainer.inputs import USER_WEIGHT
from trainer.inputs import split_by_time
from trainer.inputs import training_batches
from trainer.inputs import validation_batches
from trainer.run import build_model
from trainer.training_file import TRAINING_FILE
from trainer.trends import trends
from trainer.validation import Validation


def one_pass(files, spec, split, **sampling):
    return training_batches(files, spec, split, **sampling).take(split.num_train // sampling["batch_size"])


def test_the_latest_rows_are_held_out_and_the_rest_is_trained_on(files, spec):
    split = split_by_time(files, share=0.5)
    held_out = validation_batches(files, spec, split, max_rows=10_000, max_history=100)
    with_time = {**spec, "timestamp_us": tf.io.FixedLenFeature([], tf.int64)}
    sampling = {"batch_size": 1, "user_balance": 0.5, "max_history": 100, "seed": 1}
    trained = [int(row["timestamp_us"][0]) for row in one_pass(files, with_time, split, **sampling)]
    assert len(trained) == split.num_train == split.user_counts.sum()
    assert max(trained) < split.boundary_us
    assert {task for batch in held_out for task in batch["task"].numpy()} == {b"conversion"}
    assert sum(len(batch["task"]) for batch in held_out) >= MIN_VALIDATION_ROWS


def test_a_row_weighs_by_its_users_rows(files, spec):
    split = split_by_time(files, share=0.0)
    named = {**spec, "user_id": tf.io.FixedLenFeature([], tf.string)}
    sampling = {"batch_size": 1, "user_balance": 0.5, "max_history": 100, "seed": 1}
    rows = [
        (row["user_id"].numpy()[0], float(row[USER_WEIGHT][0])) for row in one_pass(files, named, split, **sampling)
    ]
    users, counts = np.unique([user for user, _ in rows], return_counts=True)
    expected = dict(zip(users.tolist(), counts**-0.5, strict=True))
    assert all(weight == pytest.approx(expected[user], rel=1e-5) for user, weight in rows)


def test_training_and_validation_see_the_latest_of_a_history(files, spec):
    split = split_by_time(files, share=0.5)

    def histories(most):
        sampling = {"batch_size": 1, "user_balance": 0.5, "max_history": most, "seed": 1}
        return [row["history_item_id_xf"][0].numpy().tolist() for row in one_pass(files, spec, split, **sampling)]

    whole, cut = histories(100), histories(2)
    assert max(map(len, whole)) > 2
    assert sorted(cut) == sorted(history[:2] for history in whole)
    held_out = validation_batches(files, spec, split, max_rows=10_000, max_history=2)
    assert max(int(batch["history_item_id_xf"].row_lengths().numpy().max()) for batch in held_out) == 2


@pytest.mark.parametrize("most", [2, 100])
def test_the_query_tower_reads_no_more_of_a_history_than_in_training(monkeypatch, trained, files, spec, most):
    split = split_by_time(files, share=0.5)
    whole = validation_batches(files, spec, split, max_rows=MIN_VALIDATION_ROWS, max_history=100)[0]
    cut = latest_actions(whole, 2)
    assert (whole["history_item_id_xf"].row_lengths() > 2).numpy().any()
    monkeypatch.setattr(trained.model.query_tower, "_max_history", most)
    is_same = np.isclose(trained.model.query_tower(whole), trained.model.query_tower(cut), atol=1e-5).all()
    assert is_same == (most == 2)


@pytest.mark.parametrize("share", [0.0, 1e-9])
def test_nothing_is_held_out_without_a_share(files, spec, share):
    split = split_by_time(files, share=share)
    assert validation_batches(files, spec, split, max_rows=10_000, max_history=100) == []


@pytest.fixture
def validation(trained, files, spec, tmp_path):
    batches = validation_batches(
        files, spec, split_by_time(files, share=0.5), max_rows=MIN_VALIDATION_ROWS, max_history=100
    )
    options = {"every_steps": 1, "patience": 1, "cutoffs": (50, 100, 200)}
    return Validation(trained.model, batches, checkpoint=str(tmp_path / "best"), **options)


def test_what_is_kept_is_calibrated_and_training_goes_on_as_it_was(trained, validation):
    model = trained.model
    own = model.bonuses.constants
    constants = np.linspace(4.0, -1.0, len(own), dtype=np.float32)
    validation._save(0.3, constants)
    assert model.query_tower.scale.numpy() == 1.0
    np.testing.assert_allclose(model.bonuses.constants, own, rtol=1e-6)
    validation.on_train_end()
    assert model.query_tower.scale.numpy() == pytest.approx(0.3)
    np.testing.assert_allclose(model.bonuses.constants, constants, rtol=1e-6)
    model.query_tower.scale.assign(1.0)
    model.bonuses.constants = own


def test_popularity_in_training_does_not_count_what_is_held_out(market, trained, files):
    catalog, split = trained.model.catalog, split_by_time(files, share=0.5)
    items = tf.range(catalog.num_items, dtype=tf.int64)
    whole = catalog.rates(items).numpy()
    with catalog.popularity_from(split.item_counts):
        found = catalog.rates(items).numpy()
    np.testing.assert_array_equal(catalog.rates(items), whole)
    vocabulary = [name.decode() for name in market.tf_transform.vocabulary_by_name("item_id")]
    expected = np.zeros(catalog.num_items)
    for row in market.train:
        expected[vocabulary.index(row["item_id"]) + 1] += row["timestamp_us"] < split.boundary_us
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)
    assert np.abs(found - whole).max() > 1e-3


@pytest.mark.usefixtures("eager")
def test_a_run_that_does_not_improve_stops_and_goes_back_to_its_best(
    market, small_config, files, spec, tmp_path, caplog
):
    # Steps as long as these ruin the towers.
    options = {"epochs": 200, "validation_share": 0.5, "patience": 2, "validations_per_epoch": 1, "item_dropout": 0.0}
    options["trend_half_life_days"] = 0.0
    config = small_config(learning_rate=3.0, table_learning_rate=10.0, clip_norm=1e9, **options)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(8)
    start = model.item_tower(batch).numpy()
    with caplog.at_level(logging.INFO):
        fit(model, files, spec, config, folder=tmp_path)
    assert caplog.text.count("the best so far") == 1
    assert "Training stops: the last 2 validations were no better" in caplog.text
    np.testing.assert_allclose(model.item_tower(batch).numpy(), start, rtol=1e-5)
    curves = json.loads((tmp_path / TRAINING_FILE).read_text())
    assert [point["is_best"] for point in curves["validations"]] == [True, False, False]
    assert f"recall all {curves['validations'][1]['recall_all']:.4f}" in caplog.text
    assert {"loss_conversion", "loss_engagement"} <= set(curves["steps"][0])
    Towers(model, market.tf_transform, market.groups).signatures()  # exports after the weights came back


@pytest.mark.usefixtures("eager")
def test_without_enough_rows_the_last_weights_are_taken_and_it_is_said(
    market, small_config, files, spec, tmp_path, caplog
):
    config = small_config(max_steps=2, validation_share=0.0)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    with caplog.at_level(logging.INFO):
        fit(model, files, spec, config, folder=tmp_path)
    assert "No validation: fewer than 50 conversions are held out" in caplog.text


@pytest.mark.usefixtures("eager")
def test_what_is_trained_has_the_trends_of_all_train_rows(market, small_config, files, spec, tmp_path):
    rows = split_by_time(files, share=0.0).rows
    half_life_days = float(np.ptp(rows.moments_us)) / 86_400e6 / 4  # the planted log is short
    config = small_config(max_steps=1, validation_share=0.2, trend_half_life_days=half_life_days)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    fit(model, files, spec, config, folder=tmp_path)
    options = {"half_life_days": half_life_days, "now_us": int(rows.moments_us.max())}
    expected = trends(rows, num_items=model.catalog.num_items, **options)
    for part in (model.item_tower, model.repeat_bonus):
        np.testing.assert_allclose(part.trends, expected, rtol=1e-6)
    assert np.ptp(expected) > 0.1
