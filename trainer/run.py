"""run_fn: what TFX's Trainer calls; reads examples, trains, exports the towers."""

import dataclasses
import functools
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas.features import FeatureGroups
from schemas.features import feature_groups
from trainer.cluster import Job
from trainer.cluster import lead
from trainer.config import TrainerConfig
from trainer.curves import read_probes
from trainer.export import export_towers
from trainer.fit import fit
from trainer.inputs import ITEM
from trainer.inputs import training_spec
from trainer.model import ConversionModel
from trainer.preprocessing import PADDING
from trainer.replicas import choose_strategy
from trainer.replicas import is_chief
from trainer.replicas import num_workers
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import ITEM_VOCABULARY
from trainer.tables import CatalogTable
from trainer.tables import Features
from trainer.tables import vocabulary_sizes
from trainer.training_file import TENSORBOARD_FOLDER
from trainer.training_file import TRAINING_FILE
from trainer.warm_start import take_weights

if TYPE_CHECKING:  # its import takes as long as TensorFlow's
    from tfx.components.trainer.fn_args_utils import FnArgs

log = logging.getLogger(__name__)
_CATALOG_MARK = "/Split-catalog/"


def run_fn(fn_args: "FnArgs") -> None:
    """Trains on the `train` files and exports to `fn_args.serving_model_dir`.

    `fn_args.custom_config` holds `config` (a TrainerConfig as JSON), `schema` (text format) and `folder`, where a training in
    progress is kept: TFX gives each attempt a new `model_run_dir`. `fn_args.train_files` are the splits `train` and `catalog`;
    `fn_args.base_model`, if any, is the SavedModel of earlier towers, whose weights the training begins with.

    Where TF_CONFIG names several workers, this one is their chief (see `trainer.cluster`).
    """
    job = Job.of(fn_args)
    folder = own_folder(job)
    if num_workers() > 1:
        lead(job, folder)
    else:
        train(job, folder, choose_strategy())
    shutil.rmtree(folder.parent)


def train(job: Job, folder: Path, strategy: tf.distribute.Strategy) -> None:
    """Trains, in a folder that all workers share; the chief exports, and keeps the curves beside."""
    given = TrainerConfig(**json.loads(job.custom_config["config"]))
    groups = feature_groups(text_format.Parse(job.custom_config["schema"], schema_pb2.Schema()))
    tf_transform = tft.TFTransformOutput(job.transform_output)
    config = given.for_events(history_events(tf_transform))
    if (given.hidden_positives, config.hidden_positives) == ("auto", "off"):
        log.info("No hidden positives: the log has engagements")
    files = [file for pattern in job.train_files for file in tf.io.gfile.glob(pattern)]
    catalog = [file for file in files if _CATALOG_MARK in file]
    rows = [file for file in files if _CATALOG_MARK not in file]
    spec = training_spec(tf_transform, groups)

    tf.keras.utils.set_random_seed(config.seed)
    with strategy.scope(), TemporaryDirectory() as of_worker:
        model = build_model(tf_transform, groups, catalog, config)
        base = job.base_model
        start = functools.partial(take_weights, model, base, tf_transform) if base else None
        own = folder if is_chief() else Path(of_worker)
        fit(model, rows, spec, config, folder=own, saves=folder / "resume", start=start)
        if not is_chief():
            return
    if config.mixed_precision or strategy.num_replicas_in_sync > 1:
        served = build_model(tf_transform, groups, catalog, dataclasses.replace(config, mixed_precision=False))
        model = with_weights_of(model, served, read_probes(rows, spec))
    export_towers(model, tf_transform, groups, job.serving_model_dir)
    for name in (TRAINING_FILE, TENSORBOARD_FOLDER):
        shutil.move(folder / name, Path(job.model_run_dir) / name)


def own_folder(job: Job) -> Path:
    """The folder below which this training, and no other, goes on when it was cut; those of others are deleted.

    The same training has the same code, options, schema and inputs.
    """
    facts = [job.custom_config, job.transform_output, job.train_files, job.base_model]
    folder = Path(job.custom_config["folder"])
    own = folder / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    for other in folder.glob("*"):
        if other != own:
            shutil.rmtree(other)
    own.mkdir(parents=True, exist_ok=True)
    return own


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
    events = history_events(tf_transform)
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


def history_events(tf_transform: tft.TFTransformOutput) -> list[str]:
    """Events of the histories, in the order of their indices."""
    return [event.decode() for event in tf_transform.vocabulary_by_name(EVENT_VOCABULARY)]


def with_weights_of(trained: ConversionModel, model: ConversionModel, probes: dict[str, Features]) -> ConversionModel:
    """The model, which computes otherwise or elsewhere, with all that the trained one has learned; probes are any batches."""
    model.compute_loss(next(iter(probes.values())))  # builds it
    with TemporaryDirectory() as folder:
        weights = tf.train.Checkpoint(model=trained).write(f"{folder}/weights")
        tf.train.Checkpoint(model=model).read(weights).assert_existing_objects_matched()
    return model


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
