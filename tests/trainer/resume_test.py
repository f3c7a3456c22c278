"""A training that is cut and goes on is the training that was not cut."""

import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from trainer.fit import fit
from trainer.inputs import split_by_time
from trainer.inputs import training_batches
from trainer.resume import Resume
from trainer.run import build_model
from trainer.training_file import TRAINING_FILE
from trainer.validation import Validation

_OPTIONS = {
    "max_steps": 12,
    "validation_share": 0.4,
    "validations_per_epoch": 1,
    "patience": 100,
    "dropout": 0.2,
    "advertiser_loss": "pooled",
    "learning_rate_schedule": "cosine",
    "warmup_steps": 3,
    "learning_rate": 0.01,
    "item_dropout": 0.3,
    "checkpoint_every_s": 0.0,
}


class _CutError(Exception):
    """Stands for a kill."""


@pytest.fixture
def train(market, small_config, files, spec):
    """Builds the same model and trains it below a folder; its last weights, and the file of its curves."""

    def run(folder):
        config = small_config(**_OPTIONS)
        tf.keras.utils.set_random_seed(config.seed)
        model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
        fit(model, files, spec, config, folder=folder)
        rates = model.catalog.rates(tf.range(model.catalog.num_items, dtype=tf.int64))
        weights = [rates.numpy(), *(weight.numpy() for weight in model.weights)]
        return weights, json.loads((folder / TRAINING_FILE).read_text())

    return run


@pytest.mark.usefixtures("eager")
def test_a_cut_training_ends_as_one_that_was_not_cut(train, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Validation, "on_train_end", lambda *_: None)  # which would take the best weights instead
    weights, curves = train(tmp_path / "whole")
    num_steps = curves["num_steps"]
    assert (len(curves["steps"]), len(curves["validations"])) == (2, 5)

    saving = Resume.on_train_batch_end
    for cut_at in (4, num_steps - 2):  # after a step that is saved, and again after it went on

        def cut(self, *arguments, at=cut_at):
            saving(self, *arguments)
            if self.steps == at:
                raise _CutError

        with monkeypatch.context() as patch:
            patch.setattr(Resume, "on_train_batch_end", cut)
            with pytest.raises(_CutError):
                train(tmp_path / "cut")
    with caplog.at_level(logging.INFO):
        found_weights, found_curves = train(tmp_path / "cut")
    assert f"Training resumes after step {num_steps - 2} of {num_steps}" in caplog.text
    assert found_curves == curves
    for found, expected in zip(found_weights, weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_batches_go_on_where_they_stopped_and_passes_differ(files, spec):
    split = split_by_time(files, share=0.3)
    options = {"batch_size": 32, "user_balance": 0.5, "max_history": 100, "seed": 1}
    per_pass = split.num_train // 32
    assert per_pass > 2

    def items(first, number):
        found = training_batches(files, spec, split, **options, first=first).take(number)
        return [batch["item_id_xf"].numpy().tolist() for batch in found]

    whole = items(0, 3 * per_pass)
    assert whole[:per_pass] != whole[per_pass : 2 * per_pass]
    for first in (1, per_pass, per_pass + 2):
        assert items(first, 3 * per_pass - first) == whole[first:]


@pytest.mark.usefixtures("eager")
def test_a_loss_that_is_no_number_tells_the_batch(market, small_config, files, spec, tmp_path):
    config = small_config(max_steps=40, validation_share=0.0, learning_rate=1e30, clip_norm=1e30)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    with pytest.raises(
        ValueError, match=r"finite numbers. Received: .* of 40; the step's batch has \d+ \w+s.* largest: "
    ):
        fit(model, files, spec, config, folder=tmp_path)
