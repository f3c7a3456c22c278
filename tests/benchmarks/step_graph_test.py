"""What of a training step a GPU cannot compute."""

import tensorflow as tf

from benchmarks.step_graph import host_only
from benchmarks.step_graph import nodes_of
from trainer.inputs import split_by_time
from trainer.inputs import training_batches
from trainer.inputs import training_spec
from trainer.optimizers import optimizers
from trainer.run import build_model


def test_operations_without_a_kernel_are_found():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float32)])
    def padded(integers, floats):
        return tf.pad(integers, [[0, 1]]), tf.pad(floats, [[0, 1]])

    assert host_only(nodes_of(padded.get_concrete_function())) == {"Pad of int64": 1}


def test_of_a_step_only_strings_stay_with_the_host(market, small_config):
    config = small_config(impression_negatives=8)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    model.compile(*optimizers(config, total_steps=10))
    files, spec = market.transformed_files["train"], training_spec(market.tf_transform, market.groups)
    options = {"batch_size": 32, "user_balance": 0.5, "max_history": 20, "seed": 1}
    batch = next(iter(training_batches(files, spec, split_by_time(files, share=0.0), **options)))
    step = tf.function(model.train_step, autograph=False)
    step(batch)
    found = host_only(nodes_of(step.get_concrete_function(batch)))
    assert found
    assert all(name.endswith(" of string") for name in found), found
