"""The market's model, trained and exported once for all tests that need one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Trained:
    """A trained model, its export, and its loss on the first 64 train rows before and after training."""

    model: Any
    folder: str
    loss_before: float
    loss_after: float


@pytest.fixture(scope="session")
def small_config():
    """Builds a small TrainerConfig."""
    from trainer.config import TrainerConfig

    def build(**options):
        small = {"output_dim": 8, "item_dim": 8, "feature_dim": 4, "dense_units": (16, 8), "batch_size": 64}
        return TrainerConfig(**{**small, **options})

    return build


@pytest.fixture(scope="session")
def trained(market, small_config, tmp_path_factory):
    import tensorflow as tf

    from trainer.export import export_towers
    from trainer.fit import fill_counted
    from trainer.inputs import split_by_time
    from trainer.inputs import training_batches
    from trainer.inputs import training_spec
    from trainer.optimizers import optimizers
    from trainer.run import build_model

    folder = tmp_path_factory.mktemp("trained")
    config = small_config(learning_rate=0.01, seed=3)
    tf.keras.utils.set_random_seed(config.seed)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(64)
    before = float(model.compute_loss(batch))
    model.compile(*optimizers(config, total_steps=100))
    step = tf.function(model.train_step, autograph=False)
    spec = training_spec(market.tf_transform, market.groups)
    files = market.transformed_files["train"]
    sampling = {
        "batch_size": 64,
        "user_balance": config.user_balance,
        "max_history": config.max_history,
        "seed": config.seed,
    }
    split = split_by_time(files, share=0.0)
    fill_counted(model, split.rows, config)
    model.bonuses.neighbor.constants.assign([0.1, 0.2, 0.1, 0.05, 0.3, 0.1, -0.1, 0.05, 0.2, 0.1, 0.0, 0.1])
    batches = training_batches(files, spec, split, **sampling)
    for inputs in batches.take(100):
        step(inputs)
    after = float(model.compute_loss(batch))
    export_towers(model, market.tf_transform, market.groups, str(folder / "towers"))
    return Trained(model, str(folder / "towers"), before, after)


@pytest.fixture(scope="session")
def towers(trained):
    """The export, loaded."""
    import tensorflow as tf

    return tf.saved_model.load(trained.folder)


@pytest.fixture(scope="session")
def market_catalog(market, trained, tmp_path_factory):
    """The market's catalogue, embedded; `towers` loads the same export."""
    return embedded(trained.folder, market.raw_files["catalog"], tmp_path_factory.mktemp("catalog"))


def embedded(towers: str, files: list[str], folder: Path, *beam_args: str) -> Any:
    """The catalogue of a `catalog` split, by Beam within this process if no arguments say otherwise."""
    import apache_beam as beam

    from tfx_pipeline.index.embed import embed_catalog

    in_memory = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
    pipeline = beam.Pipeline(argv=[*(beam_args or in_memory)])
    return embed_catalog(pipeline, towers=towers, files=files, folder=folder)
