"""run_fn: what TFX's Trainer calls; reads examples, trains, exports the towers."""

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.trainer.fn_args_utils import FnArgs

from schemas.features import FeatureGroups
from schemas.features import feature_groups
from trainer.associations import Rows
from trainer.associations import cooccurrences
from trainer.associations import transitions
from trainer.config import TrainerConfig
from trainer.curves import Curves
from trainer.curves import read_probes
from trainer.export import export_towers
from trainer.inputs import ITEM
from trainer.inputs import MIN_VALIDATION_ROWS
from trainer.inputs import split_by_time
from trainer.inputs import training_batches
from trainer.inputs import training_spec
from trainer.inputs import validation_batches
from trainer.model import ConversionModel
from trainer.optimizers import optimizers
from trainer.preprocessing import PADDING
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import ITEM_VOCABULARY
from trainer.tables import CatalogTable
from trainer.tables import vocabulary_sizes
from trainer.trends import trends
from trainer.validation import Validation

log = logging.getLogger(__name__)
_CATALOG_MARK = "/Split-catalog/"
_PROGRESS_S = 10.0


def run_fn(fn_args: FnArgs) -> None:
    """Trains on the `train` files and exports to `fn_args.serving_model_dir`.

    `fn_args.custom_config` holds `config` (a TrainerConfig as JSON) and `schema` (text format). `fn_args.train_files` are the
    splits `train` and `catalog`.
    """
    config = TrainerConfig(**json.loads(fn_args.custom_config["config"]))
    groups = feature_groups(text_format.Parse(fn_args.custom_config["schema"], schema_pb2.Schema()))
    tf_transform = tft.TFTransformOutput(fn_args.transform_output)
    files = [file for pattern in fn_args.train_files for file in tf.io.gfile.glob(pattern)]
    catalog = [file for file in files if _CATALOG_MARK in file]
    train = [file for file in files if _CATALOG_MARK not in file]

    tf.keras.utils.set_random_seed(config.seed)
    model = build_model(tf_transform, groups, catalog, config)
    fit(model, train, training_spec(tf_transform, groups), config, folder=Path(fn_args.model_run_dir))
    export_towers(model, tf_transform, groups, fn_args.serving_model_dir)


def build_model(
    tf_transform: tft.TFTransformOutput, groups: FeatureGroups, catalog: list[str], config: TrainerConfig
) -> ConversionModel:
    """A model with the vocabularies' sizes, the catalogue's features and its least popularity."""
    sizes = vocabulary_sizes(tf_transform, groups)
    names = {"positive_rate", "impression_rate", *(feature.transformed_name for feature in groups.item)}
    spec = {name: value for name, value in training_spec(tf_transform, groups).items() if name in names}
    records = tf.data.TFRecordDataset(catalog, compression_type="GZIP").batch(4096)
    items = records.map(lambda batch: tf.io.parse_example(batch, spec))
    table = CatalogTable(groups.item, sizes[ITEM_VOCABULARY], title_tokens=config.title_tokens)
    table.fill(items)
    log.info("Model: vocabularies %s; content of items: %s", sizes, [feature.name for feature in table.content])
    events = [event.decode() for event in tf_transform.vocabulary_by_name(EVENT_VOCABULARY)]
    impression_rates = rates_of_impressions(items, num_items=table.num_items)
    if config.impression_negatives and not impression_rates.any():
        log.info("No impression negatives: the log has no unengaged impressions")
    return ConversionModel(
        groups,
        sizes,
        table,
        config,
        rate_floor=least_rate(items) / 2,
        events=events,
        impression_rates=impression_rates,
    )


def rates_of_impressions(items: Iterable[dict[str, tf.Tensor]], *, num_items: int) -> np.ndarray:
    """[num_items] float32 by index: each item's share of the unengaged impressions."""
    rates = np.zeros(num_items, np.float32)
    for batch in items:
        rates[batch[ITEM].numpy()] = batch["impression_rate"].numpy()
    rates[PADDING] = 0.0
    return rates


def least_rate(items: Iterable[dict[str, tf.Tensor]]) -> float:
    """Least positive rate of the items that have one; 1 when none has."""
    rates = np.concatenate([batch["positive_rate"].numpy() for batch in items])
    return float(rates[rates > 0].min(initial=1.0))


def fit(model: ConversionModel, files: list[str], spec: dict, config: TrainerConfig, *, folder: Path) -> None:
    """Trains; keeps the best weights and the curves (see `trainer.curves`) below the folder.

    Raises:
        ValueError: fewer rows than one batch even at the smallest batch size that learns anything, or a loss that is no number.
    """
    split = split_by_time(files, share=config.validation_share)
    batch_size = min(config.batch_size, split.num_train)
    if batch_size < 2:
        raise ValueError(
            f"The train split must have at least 2 rows for in-batch negatives. Received: {split.num_train}"
        )
    steps_per_epoch = split.num_train // batch_size
    total = config.max_steps or config.epochs * steps_per_epoch
    log.info("Training on %s rows: %s steps of %s at most", split.num_train, total, batch_size)
    model.compile(*optimizers(config, total_steps=total))
    curves = Curves(model, read_probes(files, spec), total_steps=total, folder=folder)
    callbacks = [curves, _Progress(total, batch_size)]
    held_out = validation_batches(
        files, spec, split, max_rows=config.max_validation_rows, max_history=config.max_history
    )
    if held_out:
        before = split.rows.at(split.rows.moments_us < split.boundary_us)
        fill_neighbors(model, before, config)
        every_steps = max(1, steps_per_epoch // config.validations_per_epoch)
        checkpoint = str(folder / "checkpoints" / "best")
        callbacks.append(
            Validation(
                model,
                held_out,
                every_steps=every_steps,
                patience=config.patience,
                checkpoint=checkpoint,
                trends=current_trends(model, before, config),
                on_measured=curves.add_validation,
            )
        )
    else:
        log.info(
            "No validation: fewer than %s conversions are held out; the last weights are exported", MIN_VALIDATION_ROWS
        )
    batches = training_batches(
        files,
        spec,
        split,
        batch_size=batch_size,
        user_balance=config.user_balance,
        max_history=config.max_history,
        seed=config.seed,
    )
    with model.catalog.popularity_from(split.item_counts):
        model.fit(batches.repeat(), epochs=1, steps_per_epoch=total, verbose=0, callbacks=callbacks)
    fill_neighbors(model, split.rows, config)
    model.item_tower.trends.assign(current_trends(model, split.rows, config))


def current_trends(model: ConversionModel, rows: Rows, config: TrainerConfig) -> np.ndarray:
    """[num_items] float32 as of the latest row; 0 without a half-life."""
    num_items = model.catalog.num_items
    if not config.trend_half_life_days or not len(rows.items):
        return np.zeros(num_items, np.float32)
    now_us = int(rows.moments_us.max())
    return trends(rows, num_items=num_items, half_life_days=config.trend_half_life_days, now_us=now_us)


def fill_neighbors(model: ConversionModel, rows: Rows, config: TrainerConfig) -> None:
    """Counts the associations of the rows: without those held out for calibration, and in the end with them."""
    if not config.num_neighbors:
        return
    options = {"num_items": model.catalog.num_items, "num_neighbors": config.num_neighbors}
    model.bonuses.neighbor.fill(
        {
            "transitions": transitions(rows, **options),
            "cooccurrences": cooccurrences(rows, ridge=config.neighbor_ridge, **options),
        }
    )


class _Progress(tf.keras.callbacks.Callback):
    """Logs step, loss and speed every few seconds, and stops on a loss that is no number."""

    def __init__(self, total_steps: int, batch_size: int) -> None:
        super().__init__()
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._step = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._start_s = self._told_s = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._step += 1
        loss = (logs or {})["loss"]
        if not np.isfinite(loss):
            raise ValueError(
                f"The loss must be a finite number. Received: {loss} at step {self._step} of {self._total_steps}; lower "
                "trainer.learning_rate or trainer.table_learning_rate, or look for extreme values in numeric features."
            )
        now_s = time.monotonic()
        if now_s - self._told_s < _PROGRESS_S and self._step < self._total_steps:
            return
        self._told_s = now_s
        rate = self._step * self._batch_size / (now_s - self._start_s)
        log.info("Step %s of %s: loss %.4f, %.0f examples/s", self._step, self._total_steps, loss, rate)
