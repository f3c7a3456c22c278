"""Two workers, processes of one machine, train what one does; both are the real program that a cluster's machines run."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer.export import EMBED_QUERY_EXAMPLES
from trainer.run import run_fn
from trainer.training_file import TRAINING_FILE

PROJECT = Path(__file__).parents[2]
_OPTIONS = {
    "max_steps": 12,
    "batch_size": 32,
    "validation_share": 0.3,
    "validations_per_epoch": 1,
    "learning_rate": 0.02,
    "num_cross_layers": 1,
    "dense_units": (8,),
    "checkpoint_every_s": 0.0,
    # What is drawn is each replica's own.
    "item_dropout": 0.0,
    "history_dropout": 0.0,
    "reconstruction_weight": 0.0,
    "uniform_negatives": 0,
}


@pytest.fixture(scope="module")
def arguments(market, small_config):
    """Builds what TFX gives to `run_fn`, for an attempt below a folder."""

    def build(folder):
        config = {"config": json.dumps(small_config(**_OPTIONS).to_dict()), "schema": market.schema}
        (folder / "run").mkdir(parents=True)
        return FnArgs(
            train_files=[file for files in market.transformed_files.values() for file in files],
            transform_output=market.tf_transform._transform_output_dir,
            custom_config={**config, "folder": str(folder / "training")},
            serving_model_dir=str(folder / "towers"),
            model_run_dir=str(folder / "run"),
        )

    return build


@pytest.fixture(scope="module")
def together(arguments, tmp_path_factory):
    """The folder of a training by two workers, and what the other one printed."""
    folder = tmp_path_factory.mktemp("together")
    addresses = [f"localhost:{port}" for port in _free_ports(2)]
    command = [sys.executable, "-m", "trainer.worker", f"--folder={folder / 'training'}"]
    options = {"cwd": PROJECT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, env=_environment(addresses, 1), **options) as other,
    ):
        patch.chdir(PROJECT)
        patch.setenv("TF_CONFIG", _environment(addresses, 0)["TF_CONFIG"])
        try:
            run_fn(arguments(folder))
            said, _ = other.communicate(timeout=60)
        finally:
            other.kill()
    assert other.returncode == 0, said
    return folder, said


@pytest.fixture(scope="module")
def alone(arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run_fn(arguments(folder))
    return folder


def test_two_workers_have_the_curves_of_one(alone, together):
    one, two = (json.loads((folder / "run" / TRAINING_FILE).read_text()) for folder in (alone, together[0]))
    assert [point["step"] for point in two["steps"]] == [0, 10]
    # Rows of tables enter the norm as they come, summed for each worker's part: it differs a little, the steps do not.
    for name, tolerance in (("loss", 1e-4), ("loss_conversion", 1e-4), ("norm_item_id", 1e-5), ("gradient_norm", 0.01)):
        expected, found = ([point.get(name, 0.0) for point in curves["steps"]] for curves in (one, two))
        np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=name)
    assert [found["is_best"] for found in two["validations"]] == [found["is_best"] for found in one["validations"]]


def test_the_chief_exports_what_one_exports(alone, together, market):
    examples = tf.constant(market.serialized(market.evaluation[:20]))
    one, two = (tf.saved_model.load(str(folder / "towers")) for folder in (alone, together[0]))
    assert one.signatures.keys() == two.signatures.keys()
    expected, found = (towers.signatures[EMBED_QUERY_EXAMPLES](examples)["embedding"] for towers in (one, two))
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)


def test_nothing_of_the_training_is_left(together):
    folder, said = together
    assert sorted(path.name for path in folder.iterdir()) == ["run", "towers"]
    assert said.splitlines()[-1].startswith("Step 12 of 12: loss ")


def test_a_run_of_the_pipeline_that_is_not_the_chiefs_is_refused(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _environment(["a:1", "b:2"], 1)["TF_CONFIG"])
    with pytest.raises(
        ValueError, match=r"the chief, of TF_CONFIG's task \('worker', 0\). Received: \('worker', 1\); run"
    ):
        run_fn(arguments(tmp_path))


def test_a_worker_without_a_cluster_is_refused(tmp_path):
    command = [sys.executable, "-m", "trainer.worker", f"--folder={tmp_path}"]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "TF_CONFIG must name at least two workers. Received: none"


def _environment(addresses: list[str], place: int) -> dict[str, str]:
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": place}}
    return {**os.environ, "TF_CONFIG": json.dumps(cluster)}


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
