"""A program: what one and two replicas make of the same batch, the latter on two logical devices of one processor.

Given a folder with `given.pickle`, writes `found.pickle` to it.
"""

import json
import pickle
import re
import sys
from pathlib import Path

import trainer  # noqa: F401 (chooses Keras 2)

import tensorflow as tf  # isort: skip
import tensorflow_transform as tft

from trainer.curves import read_probes
from trainer.fit import fit
from trainer.inputs import USER_WEIGHT
from trainer.run import build_model
from trainer.run import with_weights_of
from trainer.sampling import NegativeSampler
from trainer.training_file import TRAINING_FILE

_ROWS = 16


def main(folder: Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    given = pickle.loads((folder / "given.pickle").read_bytes())
    transform = tft.TFTransformOutput(given["transform"])
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {"fit": _fit(mirrored, given, transform, folder)}
    NegativeSampler.draw = _fixed_draw
    strategies = (tf.distribute.get_strategy(), mirrored)
    found["gradients"] = [_gradients(strategy, given, transform, given["config"]) for strategy in strategies]
    (folder / "found.pickle").write_bytes(pickle.dumps(found))


def _model(given, transform, config):
    tf.keras.utils.set_random_seed(config.seed)
    return build_model(transform, given["groups"], given["files"]["catalog"], config)


def _gradients(strategy, given, transform, config):
    """Loss and gradients on the first rows."""
    part = _ROWS // strategy.num_replicas_in_sync
    records = tf.data.TFRecordDataset(given["files"]["train"], "GZIP")
    batch = tf.io.parse_example(next(iter(records.batch(_ROWS))), given["spec"])
    batch[USER_WEIGHT] = tf.linspace(0.2, 1.0, _ROWS)

    def own_rows(context):
        first = context.replica_id_in_sync_group * part
        return {name: values[first : first + part] for name, values in batch.items()}

    with strategy.scope():
        model = _model(given, transform, config)
        model.compute_loss(batch)  # builds it
    inputs = strategy.experimental_distribute_values_from_function(own_rows)
    run = tf.function(lambda: strategy.run(model.loss_and_gradients, (inputs,)), autograph=False)
    loss, found = (strategy.experimental_local_results(of_replicas)[0] for of_replicas in run())
    gradients = [None if one is None else tf.convert_to_tensor(one) for one in found]
    return {"loss": float(loss), "gradients": _by_name(model, gradients)}


def _by_name(model, values):
    """Arrays by place and name; a second model's names have other numbers."""
    named = zip(model.trainable_variables, values, strict=True)
    return {
        f"{at} {re.sub('_[0-9]+', '', variable.name)}": value.numpy()
        for at, (variable, value) in enumerate(named)
        if value is not None
    }


def _fixed_draw(sampler):
    """The replica's part of the same draws."""
    number = sampler.num_draws
    context = tf.distribute.get_replica_context()
    first = number * tf.cast(context.replica_id_in_sync_group, tf.int64)
    return 1 + (first + tf.range(number, dtype=tf.int64)) % 24


def _fit(strategy, given, transform, folder):
    """Curves of a whole training, the copies of its weights, and vectors of it and of a model of one replica with its weights."""
    config = given["fit"]
    with strategy.scope():
        model = _model(given, transform, config)
        fit(model, given["files"]["train"], given["spec"], config, folder=folder / "fit")
    curves = json.loads((folder / "fit" / TRAINING_FILE).read_text())
    copies = [[copy.numpy() for copy in variable.values] for variable in model.trainable_variables]
    probes = read_probes(given["files"]["train"], given["spec"])
    batch = next(iter(probes.values()))
    served = with_weights_of(model, _model(given, transform, config), probes)
    vectors = [tower(batch).numpy() for one in (model, served) for tower in (one.query_tower, one.item_tower)]
    return {"curves": curves, "copies": copies, "vectors": vectors}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
