"""A finished run of the pipeline, as what trains on it reads it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft

from benchmarks.ablation_worker import artifact_folder
from benchmarks.ablation_worker import groups_of
from schemas.features import FeatureGroups
from tfx_pipeline.configs import build_config
from tfx_pipeline.run_record import read_last_run
from trainer.config import TrainerConfig
from trainer.inputs import TimeSplit
from trainer.inputs import split_by_time
from trainer.inputs import training_batches
from trainer.inputs import training_spec
from trainer.model import ConversionModel
from trainer.run import build_model
from trainer.run import history_events


@dataclass(frozen=True)
class TrainingRun:
    """Transformed examples of a run, and how its source is trained by default."""

    config: TrainerConfig
    transform: tft.TFTransformOutput
    groups: FeatureGroups
    train: list[str]
    catalog: list[str]

    @cached_property
    def split(self) -> TimeSplit:
        """Which rows are trained on."""
        return split_by_time(self.train, share=self.config.validation_share)

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        return min(self.config.batch_size, self.split.num_train)

    def batches(self) -> tf.data.Dataset:
        """As a training reads them, with `user_id`."""
        spec = {**training_spec(self.transform, self.groups), "user_id": tf.io.FixedLenFeature([], tf.string)}
        return training_batches(
            self.train,
            spec,
            self.split,
            batch_size=self.batch_size,
            user_balance=self.config.user_balance,
            max_history=self.config.max_history,
            seed=self.config.seed,
        )

    def model(self, config: TrainerConfig) -> ConversionModel:
        """Untrained."""
        return build_model(self.transform, self.groups, self.catalog, config)


def training_run(source: str, root: Path, settings: list[str]) -> TrainingRun:
    """The last run below the root.

    Args:
        source: whose defaults the trainer's options begin with.
        root: of the run.
        settings: changes of them, SECTION.FIELD=VALUE.
    """
    run = read_last_run(root / "metadata.sqlite", expected=())
    folder = artifact_folder(run, "Transform.transformed_examples")
    train, catalog = (sorted(map(str, (folder / f"Split-{name}").glob("*"))) for name in ("train", "catalog"))
    transform = tft.TFTransformOutput(str(artifact_folder(run, "Transform.transform_graph")))
    config = build_config(source, settings=settings).trainer.for_events(history_events(transform))
    return TrainingRun(config, transform, groups_of(run), train, catalog)
