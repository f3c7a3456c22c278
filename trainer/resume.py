"""What a killed training needs to go on as if nothing had happened: weights, optimizers, draws, and what callbacks remember."""

import json
import logging
import time
from pathlib import Path
from typing import Any
from typing import Protocol

import tensorflow as tf

from trainer.model import ConversionModel

log = logging.getLogger(__name__)


class Remembering(Protocol):
    """A callback with a memory."""

    def state(self) -> dict[str, Any]:
        """All that it has seen, for JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave, before the training begins."""


class Resume(tf.keras.callbacks.Callback):
    """Saves a training every so many seconds, all of it under one name, and restores the last one.

    With the batches from `steps` on, what follows is what would have followed, number by number where arithmetic is: on one machine
    with as many threads.

    Must be the last callback: what it saves is what the others have seen.

    Args:
        model: compiled.
        folder: of what is saved; of an earlier one only the last is kept.
        every_s: seconds between saves, at least; they come after a step.
        total_steps: of the training: nothing is saved at its end.
        callbacks: whose memory is saved too, by name.
    """

    def __init__(
        self,
        model: ConversionModel,
        folder: Path,
        *,
        every_s: float,
        total_steps: int,
        callbacks: dict[str, Remembering],
    ) -> None:
        super().__init__()
        self.steps = 0
        self._model = model
        self._every_s = every_s
        self._total_steps = total_steps
        self._memory = _Memory({**callbacks, "resume": self})
        parts = {"optimizer": model.optimizer, "table_optimizer": model.table_optimizer, "memory": self._memory}
        self._checkpoint = tf.train.Checkpoint(model=model, **parts)
        # Several workers make a variable together, and the first save, which the chief does alone, would make this one.
        self._checkpoint.save_counter  # noqa: B018
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=1)

    def state(self) -> dict[str, Any]:
        """Steps done."""
        return {"steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave."""
        self.steps = state["steps"]

    def restore_last(self) -> None:
        """Goes back to the last save, if there is one: model, optimizers, callbacks and `steps`."""
        if self._manager.latest_checkpoint:
            self._checkpoint.restore(self._manager.latest_checkpoint).assert_existing_objects_matched()
            log.info("Training resumes after step %s of %s: an earlier run was cut", self.steps, self._total_steps)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._saved_s = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves when it is time."""
        self.steps += 1
        is_end = self.steps >= self._total_steps or self._model.stop_training
        if not is_end and time.monotonic() - self._saved_s >= self._every_s:
            self._manager.save(self.steps)
            self._saved_s = time.monotonic()


class _Memory(tf.train.experimental.PythonState):
    """The callbacks' memory as a part of a checkpoint."""

    def __init__(self, callbacks: dict[str, Remembering]) -> None:
        self._callbacks = callbacks

    def serialize(self) -> str:
        """JSON by name."""
        return json.dumps({name: callback.state() for name, callback in self._callbacks.items()})

    def deserialize(self, string_value: str) -> None:
        """What `serialize` gave."""
        for name, state in json.loads(string_value).items():
            self._callbacks[name].restore(state)
