"""Chooses the weights by what they retrieve: recall over the whole catalogue on the latest train rows, which no step sees.

Nor does the items' popularity, while towers are trained: where most items sell a few times, a popularity that counts the
rows it is compared on cannot be beaten by what generalizes.

A falling loss says little here: where logs are small, towers learn histories by heart while discovery gets worse.
"""

import logging
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.held_out import HeldOut
from trainer.model import ConversionModel
from trainer.replicas import is_chief
from trainer.replicas import of_chief
from trainer.tables import Features

log = logging.getLogger(__name__)


class Validation(tf.keras.callbacks.Callback):
    """Measures every so many steps, stops when nothing improves, and restores the best weights at the end.

    The measure (see `trainer.held_out`) is the product of two lifts, recall over popularity's: of all conversions, and of those on
    items that the history does not hold. So a model that learns repeats at the cost of discovery does not win. The start,
    popularity with the bonuses, is a candidate too.

    Args:
        model: in training.
        batches: of transformed rows, conversions.
        every_steps: steps between measures.
        patience: measures without a better one before training stops.
        checkpoint: where the best weights are kept.
        cutoffs: of recall; in a catalogue below 1,000 items they shrink with it.
        trends: [num_items] float32, what the items' popularity will have beside it once trained (see `trainer.trends`); none by
            default.
        on_measured: given each measure's recalls and popularity's, of all and of new, the scale and whether it is the best.
    """

    def __init__(
        self,
        model: ConversionModel,
        batches: Iterable[Features],
        *,
        every_steps: int,
        patience: int,
        checkpoint: str,
        cutoffs: tuple[int, ...],
        trends: np.ndarray | None = None,
        on_measured: Callable[[dict[str, Any]], None] = lambda values: None,
    ) -> None:
        super().__init__()
        self._model = model
        self._held_out = HeldOut(model, batches, cutoffs=cutoffs, trends=trends)
        self._every_steps = every_steps
        self._patience = patience
        self._checkpoint = checkpoint
        self._on_measured = on_measured
        self._steps = self._since_best = 0
        self._best = -np.inf

    def state(self) -> dict[str, Any]:
        """What decides when a training stops, and on which weights."""
        return {"steps": self._steps, "since_best": self._since_best, "best": self._best}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave."""
        self._steps, self._since_best, self._best = state["steps"], state["since_best"], state["best"]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Measures the start."""
        if not self._steps:
            self._measure()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures when it is time."""
        self._steps += 1
        if self._steps % self._every_steps == 0 and not self._model.stop_training:
            self._measure()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Goes back to the best; of several workers the chief, whose weights are exported."""
        if not is_chief():
            return
        self._model.load_weights(self._checkpoint).expect_partial()

    def _measure(self) -> None:
        found = self._held_out.measure()
        score = of_chief(found.score)
        is_better = score > self._best
        log.info(
            "Validation at step %s: recall all %.4f (popularity %.4f), new %.4f (%.4f), scale %s%s",
            self._steps, found.recalls[0], found.popularity[0], found.recalls[1], found.popularity[1], found.scale,
            ", the best so far" if is_better else "",
        )  # fmt: skip
        names = ("recall_all", "recall_new", "popularity_all", "popularity_new")
        measured = dict(zip(names, (*found.recalls, *found.popularity), strict=True))
        self._on_measured({**measured, "scale": found.scale, "is_best": is_better})
        self._since_best = 0 if is_better else self._since_best + 1
        if is_better:
            self._best = score
            self._save(found.scale, found.constants)
        elif self._since_best >= self._patience:
            log.info("Training stops: the last %s validations were no better", self._patience)
            self._model.stop_training = True

    def _save(self, scale: float, constants: np.ndarray) -> None:
        """The calibrated weights; training goes on with its own."""
        model, own = self._model, self._model.bonuses.constants
        model.query_tower.scale.assign(scale)
        model.bonuses.constants = constants
        model.save_weights(self._checkpoint)
        model.query_tower.scale.assign(1.0)
        model.bonuses.constants = own
