import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.summary.summary_iterator import summary_iterator

from trainer.curves import PROBE_ROWS
from trainer.curves import Curves
from trainer.curves import read_probes
from trainer.inputs import ITEM
from trainer.inputs import USER_WEIGHT
from trainer.training_file import TRAINING_FILE

_RATE = 0.25
_ITEMS = {"conversion": [0, 1, 2], "engagement": [1, 1]}


class Model:
    """One weight: its loss is `weight * mean(item)`; and a table of rows of norms 5 and 1."""

    temperature = 0.5

    def __init__(self):
        self.weight = tf.Variable(8.0)
        table = tf.Variable([[3.0, 4.0], [0.0, 1.0]], name="table_item_id/embeddings")
        self.trainable_variables = [self.weight, table]
        self.optimizer = tf.keras.optimizers.legacy.SGD(_RATE)
        self.table_optimizer = tf.keras.optimizers.legacy.SGD(0.125)

    def compute_loss(self, batch):
        return self.weight * tf.reduce_mean(tf.cast(batch[ITEM], tf.float32))

    def step(self):
        """Halves the weight; what Keras would hand to callbacks."""
        self.weight.assign(self.weight / 2)
        return {"loss": tf.identity(self.weight), "gradient_norm": tf.constant(float("nan"))}


@pytest.fixture
def probes():
    return {task: {ITEM: tf.constant(items), USER_WEIGHT: tf.ones(len(items))} for task, items in _ITEMS.items()}


@pytest.fixture
def curves(probes, tmp_path):
    return Curves(Model(), probes, total_steps=5, folder=tmp_path, every_steps=2)


def run(curves, num_steps):
    curves.on_train_begin()
    curves.add_validation({"recall_all": 0.5, "is_best": True})
    for step in range(num_steps):
        curves.on_train_batch_end(step, curves._model.step())


def read(folder):
    return json.loads((folder / TRAINING_FILE).read_text())


def test_points_are_those_of_the_loop_by_hand(curves, tmp_path):
    run(curves, 5)
    curves.on_train_end()
    found = read(tmp_path)
    by_hand, weight = [], 8.0
    for step in range(6):
        weight /= 2 if step else 1
        if step % 2 == 0:
            of_batch = {"loss": weight, "gradient_norm": None} if step else {}
            losses = {f"loss_{task}": weight * np.mean(items) for task, items in _ITEMS.items()}
            rates = {"learning_rate": _RATE, "table_learning_rate": 0.125}
            by_hand.append({"step": step, **of_batch, **rates, **losses, "norm_item_id": 3.0})
    assert found["steps"] == by_hand
    assert found["validations"] == [{"step": 0, "recall_all": 0.5, "is_best": True}]
    assert (found["temperature"], found["is_finished"], found["num_steps"]) == (0.5, True, 5)
    assert found["probe_rows"] == {"conversion": 3, "engagement": 2}


def test_tensorboard_has_the_same_values(curves, tmp_path):
    run(curves, 4)
    curves.on_train_end()
    events = [event for file in (tmp_path / "tensorboard").iterdir() for event in summary_iterator(str(file))]
    values = {
        (value.tag, event.step): float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    }
    for kind in ("steps", "validations"):
        for point in read(tmp_path)[kind]:
            for name in set(point) - {"step"}:
                expected = np.nan if point[name] is None else point[name]
                np.testing.assert_equal(values.pop((f"{kind}/{name}", point["step"])), float(expected))
    assert values == {}


def test_a_run_that_is_cut_leaves_what_it_measured_and_its_repetition_starts_anew(curves, probes, tmp_path):
    run(curves, 3)  # and no end
    assert [point["step"] for point in read(tmp_path)["steps"]] == [0, 2]
    assert not read(tmp_path)["is_finished"]
    run(Curves(Model(), probes, total_steps=5, folder=tmp_path, every_steps=2), 2)
    assert [point["loss_engagement"] for point in read(tmp_path)["steps"]] == [8.0, 2.0]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert {path.name for path in tmp_path.iterdir()} == {TRAINING_FILE, "tensorboard"}


def test_between_points_no_value_is_fetched(curves):
    class Unread:
        def __float__(self):
            raise AssertionError("fetched")

    curves.on_train_begin()
    curves.on_train_batch_end(0, {"loss": Unread()})
    with pytest.raises(AssertionError, match="fetched"):
        curves.on_train_batch_end(1, {"loss": Unread()})


def test_probes_have_as_many_rows_of_each_task(tmp_path):
    def example(number):
        task = b"conversion" if number % 3 == 0 else b"engagement"
        features = {
            "task": tf.train.Feature(bytes_list=tf.train.BytesList(value=[task])),
            ITEM: tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    with tf.io.TFRecordWriter(str(tmp_path / "rows.gz"), "GZIP") as writer:
        for number in range(PROBE_ROWS * 3):
            writer.write(example(number))
    spec = {ITEM: tf.io.FixedLenFeature([], tf.int64)}
    found = read_probes([str(tmp_path / "rows.gz")], spec)
    assert found["conversion"][ITEM].numpy().tolist() == list(range(0, PROBE_ROWS * 3, 3))
    others = [number for number in range(PROBE_ROWS * 3) if number % 3]
    assert found["engagement"][ITEM].numpy().tolist() == others[:PROBE_ROWS]
    assert found["engagement"][USER_WEIGHT].numpy().tolist() == [1.0] * PROBE_ROWS
