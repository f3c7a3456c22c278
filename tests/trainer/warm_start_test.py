"""Weights of an earlier export in a new model whose vocabularies have other entries, in another order."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from trainer.run import build_model
from trainer.warm_start import take_weights


@pytest.fixture
def earlier(trained, tmp_path):
    """The export as if its items had been read in another order, and two of them had had other names."""
    folder = Path(shutil.copytree(trained.folder, tmp_path / "towers"))
    entries = (folder / "assets" / "item_id").read_text().splitlines()
    moved = ["gone", *entries[1:-1][::-1], "left"]
    (folder / "assets" / "item_id").write_text("".join(f"{entry}\n" for entry in moved))
    return folder, entries, moved


def _build(market, config):
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    model.compute_loss(market.batch(8))
    return model


def _table(model, name):
    return next(variable for variable in model.trainable_variables if f"table_{name}/" in variable.name).numpy()


def test_rows_go_with_their_entries_and_the_rest_with_its_place(market, trained, earlier, small_config, caplog):
    folder, entries, moved = earlier
    model = _build(market, small_config(seed=11))
    before = _table(model, "item_id")
    with caplog.at_level(logging.INFO):
        take_weights(model, str(folder), market.tf_transform)
    taken, old = _table(model, "item_id"), _table(trained.model, "item_id")
    np.testing.assert_array_equal(taken[0], old[0])  # of what no vocabulary knows
    for place, entry in enumerate(entries, 1):
        expected = old[moved.index(entry) + 1] if entry in moved else before[place]
        np.testing.assert_array_equal(taken[place], expected)
    assert f"{len(entries) - 2} of {len(entries)} entries of item_id were known" in caplog.text
    np.testing.assert_array_equal(_table(model, "title"), _table(trained.model, "title"))
    for tower in ("query_tower", "item_tower"):
        heads = [getattr(found, tower).trainable_variables[-1].numpy() for found in (model, trained.model)]
        np.testing.assert_array_equal(*heads)
    assert float(model.query_tower.scale) == 1.0
    assert "is new or of another shape" not in caplog.text


def test_the_same_vocabularies_give_the_same_vectors(market, trained, small_config):
    model = _build(market, small_config(seed=11))
    batch = market.batch(8)
    assert np.abs(model.query_tower(batch) - trained.model.query_tower(batch)).max() > 0.1
    take_weights(model, trained.folder, market.tf_transform)
    for tower in ("query_tower", "item_tower"):
        found, expected = (getattr(one, tower)(batch).numpy() for one in (model, trained.model))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_has_another_shape_is_left_and_told(market, trained, small_config, caplog):
    model = _build(market, small_config(dense_units=(24, 8), feature_dim=5))
    before = _table(model, "title")
    with caplog.at_level(logging.INFO):
        take_weights(model, trained.folder, market.tf_transform)
    np.testing.assert_array_equal(_table(model, "title"), before)
    np.testing.assert_array_equal(_table(model, "item_id"), _table(trained.model, "item_id"))
    assert "query_tower/_body/_stack/0/kernel" in caplog.text
