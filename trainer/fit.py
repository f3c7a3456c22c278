"""fit: one training, from train rows to the best weights, with all that watches it."""

import functools
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.associations import Rows
from trainer.associations import cooccurrences
from trainer.associations import transitions
from trainer.batch_facts import batch_facts
from trainer.config import TrainerConfig
from trainer.content_groups import most_popular
from trainer.curves import Curves
from trainer.curves import read_probes
from trainer.inputs import MIN_VALIDATION_ROWS
from trainer.inputs import WHOLE
from trainer.inputs import Part
from trainer.inputs import TimeSplit
from trainer.inputs import split_by_time
from trainer.inputs import training_batches
from trainer.inputs import validation_batches
from trainer.loyalty import loyalty
from trainer.model import ConversionModel
from trainer.optimizers import optimizers
from trainer.replicas import is_chief
from trainer.replicas import spread
from trainer.resume import Resume
from trainer.tables import Features
from trainer.trends import trends
from trainer.validation import Validation

log = logging.getLogger(__name__)
_PROGRESS_S = 10.0


def fit(
    model: ConversionModel,
    files: list[str],
    spec: dict,
    config: TrainerConfig,
    *,
    folder: Path,
    saves: Path | None = None,
    start: Callable[[], None] | None = None,
) -> None:
    """Trains; keeps the best weights and the curves (see `trainer.curves`) below the folder.

    To be called within the scope of the model's strategy. A folder in which the same training was cut holds its last save: it
    goes on from there (see `trainer.resume`). `saves` is that of the saves where several workers share one.

    `start` gives the built model other initial weights.

    Raises:
        ValueError: fewer rows than one batch even at the smallest batch size that learns anything, or a loss that is no number.
    """
    split = split_by_time(files, share=config.validation_share)
    strategy = model.distribute_strategy
    batch_size = _batch_size(config, split, strategy.num_replicas_in_sync)
    total = config.max_steps or config.epochs * (split.num_train // batch_size)
    log.info("Training on %s rows: %s steps of %s at most", split.num_train, total, batch_size)

    batches = _batches_of(files, spec, split, config, batch_size=batch_size)
    model.compile(*optimizers(config, total_steps=total))
    probes = read_probes(files, spec)
    if start:
        model.compute_loss(next(iter(probes.values())))  # builds it
        start()
    curves = Curves(model, probes, total_steps=total, folder=folder)
    validation = _validation(model, files, spec, split, config, curves=curves, folder=folder)
    resume = Resume(
        model,
        saves or folder / "resume",
        every_s=config.checkpoint_every_s if is_chief() else math.inf,
        total_steps=total,
        callbacks={"curves": curves, **({"validation": validation} if validation else {})},
    )
    with model.catalog.popularity_from(split.item_counts):
        resume.restore_last()  # within: the save has the popularity of a training
        first = resume.steps
        progress = _Progress(
            total, batch_size, first=first, batch_at=lambda step: next(iter(batches(batch_size, first=step - 1)))
        )
        callbacks = [curves, progress, *([validation] if validation else []), resume]
        rows = spread(strategy, functools.partial(batches, first=first), batch_size=batch_size)
        model.fit(rows, epochs=1, steps_per_epoch=total - first, verbose=0, callbacks=callbacks)
    _count_all(model, split.rows, config)


def _batches_of(
    files: list[str], spec: dict, split: TimeSplit, config: TrainerConfig, *, batch_size: int
) -> Callable[..., tf.data.Dataset]:
    """Builds a step's batches, or of as many rows as a replica takes, from step `first` on."""

    def batches(num_rows: int, part: Part = WHOLE, *, first: int) -> tf.data.Dataset:
        return training_batches(
            files,
            spec,
            split,
            batch_size=num_rows,
            user_balance=config.user_balance,
            max_history=config.max_history,
            seed=config.seed,
            first=first * (batch_size // num_rows),
            part=part,
        )

    return batches


def _count_all(model: ConversionModel, rows: Rows, config: TrainerConfig) -> None:
    """Counts and trends of all train rows, those held out among them: what is served."""
    fill_counted(model, rows, config)
    trended = current_trends(model, rows, config)
    for part in (model.item_tower, model.repeat_bonus):
        part.trends.assign(trended)


def _batch_size(config: TrainerConfig, split: TimeSplit, num_replicas: int) -> int:
    """Rows of a step: as many for each replica."""
    rows = min(config.batch_size, split.num_train)
    rows -= rows % num_replicas
    if rows < 2:
        raise ValueError(
            f"The train split must have at least 2 rows for in-batch negatives. Received: {split.num_train}"
        )
    return rows


def _validation(
    model: ConversionModel,
    files: list[str],
    spec: dict,
    split: TimeSplit,
    config: TrainerConfig,
    *,
    curves: Curves,
    folder: Path,
) -> Validation | None:
    """On the rows that are held out; None when they are too few."""
    held_out = validation_batches(
        files, spec, split, max_rows=config.max_validation_rows, max_history=config.max_history
    )
    if not held_out:
        log.info(
            "No validation: fewer than %s conversions are held out; the last weights are exported", MIN_VALIDATION_ROWS
        )
        return None
    before = split.rows.at(split.rows.moments_us < split.boundary_us)
    fill_counted(model, before, config)
    steps_per_epoch = split.num_train // min(config.batch_size, split.num_train)
    return Validation(
        model,
        held_out,
        every_steps=max(1, steps_per_epoch // config.validations_per_epoch),
        patience=config.patience,
        checkpoint=str(folder / "checkpoints" / "best"),
        cutoffs=config.recall_cutoffs,
        trends=current_trends(model, before, config),
        on_measured=curves.add_validation,
    )


def current_trends(model: ConversionModel, rows: Rows, config: TrainerConfig) -> np.ndarray:
    """[num_items] float32 as of the latest row; 0 without a half-life."""
    num_items = model.catalog.num_items
    if not config.trend_half_life_days or not len(rows.items):
        return np.zeros(num_items, np.float32)
    now_us = int(rows.moments_us.max())
    return trends(rows, num_items=num_items, half_life_days=config.trend_half_life_days, now_us=now_us)


def fill_counted(model: ConversionModel, rows: Rows, config: TrainerConfig) -> None:
    """Counts what bonuses know of the rows: without those held out for calibration, and in the end with them."""
    num_items, content = model.catalog.num_items, model.bonuses.neighbor.content
    model.repeat_bonus.loyalty.assign(loyalty(rows, num_items=num_items))
    if not config.num_neighbors:
        return
    options = {"num_items": num_items, "num_neighbors": config.num_neighbors}
    model.bonuses.neighbor.fill(
        {
            "transitions": transitions(rows, **options),
            "cooccurrences": cooccurrences(rows, ridge=config.neighbor_ridge, **options),
            "content": most_popular(
                content.of(tf.range(num_items)).numpy(),
                np.bincount(rows.items, minlength=num_items),
                num_groups=content.number,
                num_neighbors=config.num_neighbors,
            ),
        }
    )


class _Progress(tf.keras.callbacks.Callback):
    """Logs step, loss and speed every few seconds, and stops on a loss that is no number.

    Args:
        total_steps: of the training.
        batch_size: rows of a step.
        first: steps that an earlier run has done.
        batch_at: the batch of a step, counted from 1.
    """

    def __init__(self, total_steps: int, batch_size: int, *, first: int, batch_at: Callable[[int], Features]) -> None:
        super().__init__()
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._step = self._first = first
        self._batch_at = batch_at

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._start_s = self._told_s = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._step += 1
        loss, norm = ((logs or {})[name] for name in ("loss", "gradient_norm"))
        # A loss that is still finite beside a gradient that is not has just lost the weights.
        if not (np.isfinite(loss) and np.isfinite(norm)):
            raise ValueError(
                f"Loss and gradient norm must be finite numbers. Received: {loss} and {norm} at step {self._step} of "
                f"{self._total_steps}; {batch_facts(self._batch_at(self._step))}. Mend what is not finite or extreme in the "
                "data; else lower trainer.learning_rate or trainer.table_learning_rate."
            )
        now_s = time.monotonic()
        if now_s - self._told_s < _PROGRESS_S and self._step < self._total_steps:
            return
        self._told_s = now_s
        rate = (self._step - self._first) * self._batch_size / (now_s - self._start_s)
        log.info("Step %s of %s: loss %.4f, %.0f examples/s", self._step, self._total_steps, loss, rate)
