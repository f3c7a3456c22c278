"""How a step computes: in bfloat16, or compiled by XLA; what is served knows of neither."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from trainer.export import export_towers
from trainer.run import build_model
from trainer.run import with_weights_of

_NO_CHANCE = {"item_dropout": 0.0, "history_dropout": 0.0, "uniform_negatives": 0, "seed": 5}


@pytest.fixture(scope="module")
def build(market, small_config):
    def model(**options):
        config = small_config(**_NO_CHANCE, **options)
        tf.keras.utils.set_random_seed(config.seed)
        return build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)

    return model


@pytest.fixture(scope="module")
def computed(build, market):
    """By options, loss and gradients of a step on the same rows and weights."""
    found = {}
    for name, options in {"plain": {}, "jit": {"jit_compile": True}, "mixed": {"mixed_precision": True}}.items():
        model = build(**options)
        loss, gradients = model.loss_and_gradients(market.batch(32))
        found[name] = (float(loss), [tf.convert_to_tensor(gradient) for gradient in gradients])
    return found


@pytest.mark.parametrize(("name", "tolerance"), [("jit", 1e-5), ("mixed", 2e-2)])
def test_loss_and_gradients_are_those_of_the_plain_step(computed, name, tolerance):
    (loss, gradients), (expected_loss, expected) = computed[name], computed["plain"]
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert gradient.dtype == tf.float32
        assert np.abs(gradient - wanted).max() <= 10 * tolerance * np.abs(wanted).max() + 1e-6


def test_half_of_the_numbers_is_another_number(computed):
    assert computed["mixed"][0] != computed["plain"][0]


def test_what_is_served_is_float32_and_not_compiled(build, market, tmp_path):
    trained = build(mixed_precision=True, jit_compile=True)
    batch = market.batch(16)
    trained.loss_and_gradients(batch)
    served = with_weights_of(trained, build(jit_compile=True), {"conversion": batch})
    rough, exact = (model.query_tower(batch).numpy() for model in (trained, served))
    assert 0 < np.abs(rough - exact).max() < 0.02 * np.abs(exact).max()
    served.loss_and_gradients(batch)  # XLA has compiled for it
    export_towers(served, market.tf_transform, market.groups, str(tmp_path))
    graph = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    functions = graph.library.function
    assert not [function.signature.name for function in functions if function.attr["_XlaMustCompile"].b]
    nodes = [node for function in functions for node in function.node_def]
    assert len(nodes) > 100
    assert tf.bfloat16.as_datatype_enum not in {kind.type for node in nodes for kind in node.attr.values()}
