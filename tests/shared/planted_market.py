"""A small market with planted tastes, transformed once for all tests that need examples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from planted_rows import planted_items
from planted_rows import planted_rows
from planted_transform import parse_records
from planted_transform import serialize
from planted_transform import transform
from planted_transform import write_records

OWN_FEATURES = """
feature { name: "own_segment" type: BYTES annotation { tag: "query" tag: "users" } }
feature { name: "own_score" type: FLOAT annotation { tag: "item" tag: "items" } }
feature { name: "own_note" type: BYTES annotation { tag: "context" tag: "text" tag: "events" } }
feature { name: "own_vector" type: FLOAT annotation { tag: "item" tag: "vector" tag: "items" } }
"""
"""One entry each of a categorical, a numeric, a text and a vector: all that a new feature needs."""
_LEFT_OUT = (  # nothing new beside those that stay, and each costs time
    "user_num_add_to_carts",
    "user_num_purchases",
    "user_num_distinct_items",
    "user_days_since_last_event",
    "hour",
    "weekday",
    "query",
    "price",
    "item_engagement_index",
    "user_num_saves",
    "surface",
    "advertiser_id",
    "item_click_rate",
)


@dataclass(frozen=True)
class Market:
    """Raw rows, and what Transform makes of them.

    Attributes:
        train: raw rows; a missing value has no key.
        evaluation: rows of the same law that training never sees.
        catalog: raw item rows, every item once.
        schema: in text format, with OWN_FEATURES.
        groups: of the schema.
        tf_transform: Transform's output.
        raw_files: gzipped TFRecords by split.
        transformed_files: gzipped TFRecords by split.
        transformed: parsed transformed rows by split, in the raw rows' order.
        taste: by item id.
    """

    train: list[dict]
    evaluation: list[dict]
    catalog: list[dict]
    schema: str
    groups: Any
    tf_transform: Any
    raw_files: dict[str, list[str]]
    transformed_files: dict[str, list[str]]
    transformed: dict[str, list[dict]]
    taste: dict[str, str]

    def serialized(self, rows: list[dict]) -> list[bytes]:
        """Rows as tf.Examples."""
        return [serialize(row) for row in rows]

    def batch(self, num_rows: int) -> dict:
        """The first transformed train rows, as the trainer parses them; users weigh alike."""
        import tensorflow as tf

        from trainer.inputs import USER_WEIGHT
        from trainer.inputs import training_spec

        records = tf.data.TFRecordDataset(self.transformed_files["train"], "GZIP")
        spec = training_spec(self.tf_transform, self.groups)
        return {**tf.io.parse_example(next(iter(records.batch(num_rows))), spec), USER_WEIGHT: tf.ones([num_rows])}


@pytest.fixture(scope="session")
def market(tmp_path_factory, fresh_process):  # which imports TensorFlow while the market is made
    from google.protobuf import text_format

    from schemas import tables
    from schemas.features import feature_groups
    from schemas.load import load_schema
    from schemas.load import prune_schema

    folder = tmp_path_factory.mktemp("market")
    own = folder / "own.pbtxt"
    own.write_text(OWN_FEATURES)
    columns = {
        table: {*columns, "own_segment", "own_score", "own_note", "own_vector"}
        for table, columns in tables.TABLES.items()
    }
    schema, _ = prune_schema(load_schema(extra=own), columns=columns, vector_lengths={"own_vector": 3})
    kept = [feature for feature in schema.feature if feature.name not in _LEFT_OUT]
    del schema.feature[:]
    schema.feature.extend(kept)

    random = np.random.default_rng(7)
    items = planted_items(random)
    rows = planted_rows(random, items, 400)
    train, evaluation = rows[:320], rows[320:]
    rate = {row["item_id"]: row["positive_rate"] for row in rows}
    catalog = [{**item, "positive_rate": rate.get(name, 0.0), "impression_rate": 0.0} for name, item in items.items()]
    raw = {"train": train, "eval": evaluation, "catalog": catalog}
    raw_files = {
        split: write_records(folder / f"raw/Split-{split}/part.gz", [serialize(row) for row in found])
        for split, found in raw.items()
    }
    schema_text = text_format.MessageToString(schema)
    transformed_files = transform(folder, schema, {"train": train, "catalog": catalog}, schema_text)

    import tensorflow_transform as tft

    tf_transform = tft.TFTransformOutput(str(folder / "transform"))
    return Market(
        train,
        evaluation,
        catalog,
        schema_text,
        feature_groups(schema),
        tf_transform,
        raw_files,
        transformed_files,
        {split: parse_records(files, tf_transform) for split, files in transformed_files.items()},
        {item_id: item_id[0].upper() for item_id in items},
    )
