"""The curves of a training: `training.json` and TensorBoard events, with the same values."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from trainer.inputs import ITEM
from trainer.inputs import USER_WEIGHT
from trainer.model import ConversionModel
from trainer.tables import Features
from trainer.training_file import TRAINING_FILE

NUM_POINTS = 100
_MIN_EVERY_STEPS = 10
PROBE_ROWS = 256
"""Rows per task: a softmax over more rows has a larger loss, so all tasks have as many where there are as many."""
_PROBE_SCAN = 20_480
_READ_BATCH = 1024
_TENSORBOARD_FOLDER = "tensorboard"

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

    A point has the step's own loss and gradient norm, both learning rates, and of the probes the loss per task, without
    dropout and ranked among each other only, and the mean norms of the vectors: fixed rows, so that points compare. Between
    points a step costs nothing: no value is fetched.

    Args:
        model: in training, compiled.
        probes: from `read_probes`.
        total_steps: of the training, at most.
        folder: of the training; what an earlier attempt left there is replaced, for a training starts again.
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
        self._events = folder / _TENSORBOARD_FOLDER
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
        self._measures = {task: tf.function(self._measure_of(batch)) for task, batch in probes.items()}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drops the events of an earlier attempt and measures the start."""
        if self._events.is_dir():
            tf.io.gfile.rmtree(str(self._events))
        self._writer = tf.summary.create_file_writer(str(self._events))
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
        values: Point = {**own, "learning_rate": _number(self._model.optimizer.learning_rate)}
        values["table_learning_rate"] = _number(self._model.table_optimizer.learning_rate)
        for task, measure in self._measures.items():
            loss, query_norm, item_norm = (float(value) for value in measure())
            values |= {f"loss_{task}": loss, f"query_norm_{task}": query_norm, f"item_norm_{task}": item_norm}
        self._append("steps", values)

    def _append(self, kind: str, values: Point) -> None:
        self._written[kind].append({"step": self._step, **{name: _finite(value) for name, value in values.items()}})
        with self._writer.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(f"{kind}/{name}", math.nan if value is None else float(value))
        self._writer.flush()
        self._save()

    def _measure_of(self, batch: Features) -> Callable[[], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Loss of a probe, and the mean norms of its query and item vectors, without the popularity coordinate."""
        model = self._model

        def measure() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            loss = model.compute_loss(batch)
            queries, items = model.query_tower(batch), model.item_tower(model.catalog.rows(batch[ITEM]))
            query_norm, item_norm = (tf.reduce_mean(tf.norm(found[:, :-1], axis=1)) for found in (queries, items))
            return loss, query_norm, item_norm

        return measure

    def _save(self) -> None:
        """Under a temporary name first, so that a kill leaves the file before."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f".{self._file.name}.partial")
        partial.write_text(json.dumps(self._written, allow_nan=False) + "\n")
        os.replace(partial, self._file)


def _number(value: Any) -> float:
    return float(value.numpy() if hasattr(value, "numpy") else value)


def _finite(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None
