"""What parts of the model are built on, without a market: tables and a catalogue of popularity alone."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

NUM_ITEMS = 12
SIZES = {"item_id": NUM_ITEMS, "history_event": 4}


@dataclass(frozen=True)
class Parts:
    """Schema groups, embedding tables of 12 items and 4 events (padding included), catalogue; rates by item."""

    groups: Any
    tables: Any
    catalog: Any
    config: Any
    rates: np.ndarray

    def table(self, name: str) -> np.ndarray:
        """Entries of an embedding table."""
        return next(v for v in self.tables.trainable_variables if f"table_{name}/" in v.name).numpy()


@pytest.fixture(scope="session")
def parts(small_config):
    import tensorflow as tf

    from schemas.features import feature_groups
    from schemas.load import load_schema
    from trainer.tables import CatalogTable
    from trainer.tables import EmbeddingTables

    groups = feature_groups(load_schema())
    config = small_config(temperature=0.5)
    tables = EmbeddingTables(SIZES, config)
    random = np.random.default_rng(2)
    for name, size in SIZES.items():
        tables.lookup(groups[name], tf.range(size))  # builds it
    for variable in tables.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    rates = random.uniform(0.01, 0.2, NUM_ITEMS).astype(np.float32)
    rates[[0, 5]] = 0.0  # padding, and an item without positives
    catalog = CatalogTable([groups["positive_rate"]], NUM_ITEMS, title_tokens=1)
    catalog.fill([{"item_id_xf": tf.range(NUM_ITEMS), "positive_rate_xf": tf.constant(rates)}])
    return Parts(groups, tables, catalog, config, rates)


@pytest.fixture(scope="session")
def histories():
    """Builds transformed history features from rows of (item, event, age in days)."""
    import tensorflow as tf

    def build(*rows):
        def column(place, dtype):
            return tf.ragged.constant([[action[place] for action in row] for row in rows], dtype, ragged_rank=1)

        return {
            "history_item_id_xf": column(0, tf.int64),
            "history_event_xf": column(1, tf.int64),
            "history_age_days_xf": tf.math.log1p(column(2, tf.float32)),
        }

    return build


@pytest.fixture
def eager():
    """For a few steps on a few rows, building graphs would take most of the time."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not apply to tf.data functions", UserWarning)
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def spec(market):
    """What training reads of the market's rows."""
    from trainer.inputs import training_spec

    return training_spec(market.tf_transform, market.groups)


@pytest.fixture
def files(market):
    """The market's transformed train rows."""
    return market.transformed_files["train"]
