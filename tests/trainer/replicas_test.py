"""Two replicas, logical devices of one processor, do what one does; in a process of its own, for devices are cut first of all."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.replicas import choose_strategy

_OPTIONS = {
    "dropout": 0.0,
    "item_dropout": 0.0,
    "history_dropout": 0.0,  # what is hidden is by chance, and each replica has its own
    "engagement_weight": 0.5,
    "uniform_negatives": 10,
    "num_cross_layers": 1,
    "dense_units": (8,),
    "advertiser_loss": "table",
    "heads": "multi",
}


@pytest.fixture(scope="module")
def compared(market, spec, small_config, tmp_path_factory):
    """What one and two replicas make of the same batch and the same draws; a whole training on two."""
    folder = tmp_path_factory.mktemp("replicas")
    given = {
        "transform": market.tf_transform._transform_output_dir,
        "groups": market.groups,
        "spec": spec,
        "files": market.transformed_files,
        "fit": small_config(
            max_steps=30,
            validation_share=0.3,
            validations_per_epoch=1,
            learning_rate=0.02,
            num_cross_layers=1,
            dense_units=(8,),
        ),
        "config": small_config(**_OPTIONS),
    }
    (folder / "given.pickle").write_bytes(pickle.dumps(given))
    script = Path(__file__).parents[1] / "shared" / "two_replicas.py"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script, folder], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return pickle.loads((folder / "found.pickle").read_bytes())


def test_loss_and_gradients_are_those_of_one_replica(compared):
    one, two = compared["gradients"]
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert two["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        np.testing.assert_allclose(two["gradients"][name], gradient, rtol=1e-3, atol=1e-6, err_msg=name)
    assert sum(np.abs(gradient).max() > 1e-4 for gradient in one["gradients"].values()) > 20


def test_a_whole_training_keeps_the_replicas_alike_and_finds_the_planted_tastes(compared):
    curves, copies = compared["fit"]["curves"], compared["fit"]["copies"]
    assert {len(values) for values in copies} == {2}
    for first, second in copies:
        np.testing.assert_array_equal(first, second)
    losses = [step["loss"] for step in curves["steps"][1:]]
    assert 3.0 < losses[0] < 8.0  # the mean of the rows: a sum over replicas would be twice as much
    assert losses[-1] < losses[0]
    best = [found for found in curves["validations"] if found["is_best"]][-1]
    assert best["recall_all"] > 1.1 * best["popularity_all"]


def test_what_is_served_has_one_replica_and_the_same_weights(compared):
    queries, items, served_queries, served_items = compared["fit"]["vectors"]
    assert np.abs(queries[:, :-1]).max() > 0.1
    np.testing.assert_allclose(served_queries, queries, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(served_items, items, rtol=1e-4, atol=1e-5)


def test_one_device_has_the_default_strategy(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert choose_strategy() is tf.distribute.get_strategy()
