"""The curves of a training: `training.json` and TensorBoard events, with the same values."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from trainer.inputs import USER_WEIGHT
from trainer.model import ConversionModel
from trainer.optimizers import current_rate
from trainer.tables import Features
from trainer.training_file import TENSORBOARD_FOLDER
from trainer.training_file import TRAINING_FILE

NUM_POINTS = 100
_MIN_EVERY_STEPS = 10
PROBE_ROWS = 256
"""Rows per task: a softmax over more rows has a larger loss, so all tasks have as many where there are as many."""
_NORM_ROWS = 100_000
_TABLE = re.compile(r"table_(\w+)")
_PROBE_SCAN = 20_480
_READ_BATCH = 1024
_KINDS = ("steps", "validations")

Point = dict[str, float | int | bool | None]


def read_probes(files: list[str], spec: dict) -> dict[str, Features]:
    """Up to `PROBE_ROWS` rows of each task, among the first of the files, in which rows come mixed.

    Args:
        files: gzipped TFRecords of transformed examples.
        spec: from `trainer.inputs.training_spec`.

    Returns:
        By task, a batch whose users weigh alike.
    """
    records = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").take(_PROBE_SCAN).batch(_READ_BATCH)
    rows: dict[str, list[bytes]] = {}
    for batch in records:
        tasks = tf.io.parse_example(batch, {"task": tf.io.FixedLenFeature([], tf.string)})["task"]
        for record, task in zip(batch.numpy(), tasks.numpy(), strict=True):
            found = rows.setdefault(task.decode(), [])
            if len(found) < PROBE_ROWS:
                found.append(record)
        if len(rows) > 1 and all(len(found) == PROBE_ROWS for found in rows.values()):
            break
    return {
        task: {**tf.io.parse_example(tf.constant(found), spec), USER_WEIGHT: tf.ones([len(found)])}
        for task, found in sorted(rows.items())
    }


class Curves(tf.keras.callbacks.Callback):
    """Writes what a training looks like every so many steps, and each validation.

    A point has the step's own loss and gradient norm, both learning rates, the mean norm of each embedding table's rows,
    and of the probes the loss per task, without dropout and ranked among each other only: fixed rows, so that points
    compare. Between points a step costs nothing: no value is fetched.

    Args:
        model: in training, compiled.
        probes: from `read_probes`, at least one.
        total_steps: of the training, at most.
        folder: of the training; what an earlier attempt left there is replaced, but for what `restore` brings.
        every_steps: steps between points; by default as many as make `NUM_POINTS`, 10 at least.
    """

    _supports_tf_logs = True  # Keras's flag: logs stay on the device

    def __init__(
        self,
        model: ConversionModel,
        probes: dict[str, Features],
        *,
        total_steps: int,
        folder: Path,
        every_steps: int | None = None,
    ) -> None:
        super().__init__()
        self._model = model
        self._probes = probes
        self._every_steps = every_steps or max(_MIN_EVERY_STEPS, total_steps // NUM_POINTS)
        self._file = folder / TRAINING_FILE
        self._events = folder / TENSORBOARD_FOLDER
        self._step = 0
        self._written: dict[str, Any] = {
            "total_steps": total_steps,
            "every_steps": self._every_steps,
            "temperature": model.temperature,
            "probe_rows": {task: len(batch[USER_WEIGHT]) for task, batch in probes.items()},
            "is_finished": False,
            "steps": [],
            "validations": [],
        }
        self._loss = _loss_of(model, next(iter(probes.values())))

    def state(self) -> dict[str, Any]:
        """What is written, for a training that resumes."""
        return {"step": self._step, "steps": self._written["steps"], "validations": self._written["validations"]}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave."""
        self._step = state["step"]
        self._written |= {kind: state[kind] for kind in _KINDS}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drops the events of an earlier attempt, but for what was restored, and measures the start."""
        if self._events.is_dir():
            tf.io.gfile.rmtree(str(self._events))
        self._writer = tf.summary.create_file_writer(str(self._events))
        for kind in _KINDS:
            for point in self._written[kind]:
                self._write_event(kind, point)
        if not self._step:
            self._add({})

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds a point when it is time."""
        self._step += 1
        if self._step % self._every_steps == 0:
            self._add({name: float(value) for name, value in (logs or {}).items()})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Says that nothing comes after."""
        self._written["is_finished"] = True
        self._written["num_steps"] = self._step
        self._save()
        self._writer.close()

    def add_validation(self, values: Point) -> None:
        """Adds a validation, at the step that is done."""
        self._append("validations", values)

    def _add(self, own: dict[str, float]) -> None:
        values: Point = {**own, "learning_rate": current_rate(self._model.optimizer)}
        values["table_learning_rate"] = current_rate(self._model.table_optimizer)
        values |= {f"loss_{task}": float(self._loss(batch)) for task, batch in self._probes.items()}
        values |= {f"norm_{name}": float(value) for name, value in _table_norms(self._model).items()}
        self._append("steps", values)

    def _append(self, kind: str, values: Point) -> None:
        self._written[kind].append({"step": self._step, **{name: _finite(value) for name, value in values.items()}})
        self._write_event(kind, self._written[kind][-1])
        self._writer.flush()
        self._save()

    def _write_event(self, kind: str, point: Point) -> None:
        with self._writer.as_default(step=point["step"]):
            for name in point.keys() - {"step"}:
                value = point[name]
                tf.summary.scalar(f"{kind}/{name}", math.nan if value is None else float(value))

    def _save(self) -> None:
        """Under a temporary name first, so that a kill leaves the file before."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f".{self._file.name}.partial")
        partial.write_text(json.dumps(self._written, allow_nan=False) + "\n")
        os.replace(partial, self._file)


def _loss_of(model: ConversionModel, batch: Features) -> Callable[[Features], tf.Tensor]:
    """The model's loss as one graph for batches of any size: to trace it takes seconds.

    Args:
        model: see `Curves`.
        batch: any, of which the graph takes the types.
    """
    return tf.function(
        lambda inputs: model.compute_loss(inputs),
        input_signature=[{name: _of_any_size(value) for name, value in batch.items()}],
        autograph=False,
    )


def _of_any_size(value: tf.Tensor | tf.RaggedTensor) -> tf.TypeSpec:
    shape = [None, *value.shape[1:]]
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensorSpec(shape, value.dtype, value.ragged_rank, value.row_splits.dtype)
    return tf.TensorSpec(shape, value.dtype)


def _table_norms(model: ConversionModel) -> dict[str, tf.Tensor]:
    """Mean L2 norm of the rows by embedding table; of a long one, of its first rows, which are the most frequent."""
    tables = {name[1]: variable for variable in model.trainable_variables if (name := _TABLE.search(variable.name))}
    return {name: tf.reduce_mean(tf.norm(table[:_NORM_ROWS], axis=1)) for name, table in tables.items()}


def _finite(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None
