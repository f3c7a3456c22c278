"""The market's model, trained and exported once for all tests that need one."""

from dataclasses import dataclass
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
    from trainer.inputs import split_by_time
    from trainer.inputs import training_batches
    from trainer.inputs import training_spec
    from trainer.run import build_model
    from trainer.run import fill_neighbors

    folder = tmp_path_factory.mktemp("trained")
    config = small_config(learning_rate=0.01, seed=3)
    tf.keras.utils.set_random_seed(config.seed)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(64)
    before = float(model.compute_loss(batch))
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(config.learning_rate))
    step = tf.function(model.train_step, autograph=False)
    spec = training_spec(market.tf_transform, market.groups)
    files = market.transformed_files["train"]
    sampling = {"batch_size": 64, "user_balance": config.user_balance, "seed": config.seed}
    split = split_by_time(files, share=0.0)
    fill_neighbors(model, split.rows, config)
    model.bonuses.neighbor.constants.assign([0.1, 0.2, 0.1, 0.05, -0.1, 0.1, 0.05])
    batches = training_batches(files, spec, split, **sampling)
    for inputs in batches.repeat().take(100):
        step(inputs)
    after = float(model.compute_loss(batch))
    export_towers(model, market.tf_transform, market.groups, str(folder / "towers"))
    return Trained(model, str(folder / "towers"), before, after)


@pytest.fixture(scope="session")
def towers(trained):
    """The export, loaded."""
    import tensorflow as tf

    return tf.saved_model.load(trained.folder)
