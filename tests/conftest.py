"""A small market with planted tastes, transformed, trained on and exported once for all tests that need a model."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer  # noqa: F401 (chooses Keras 2 before any test imports TensorFlow)

TASTES = ("A", "B")
ITEMS_PER_TASTE = 12
OWN_FEATURES = """
feature { name: "own_segment" type: BYTES annotation { tag: "query" tag: "users" } }
feature { name: "own_score" type: FLOAT annotation { tag: "item" tag: "items" } }
feature { name: "own_note" type: BYTES annotation { tag: "context" tag: "text" tag: "events" } }
feature { name: "own_vector" type: FLOAT annotation { tag: "item" tag: "vector" tag: "items" } }
"""
"""One entry each of a categorical, a numeric, a text and a vector: all that a new feature needs."""
_FRESH = """
import sys
import numpy as np
import tensorflow as tf
import scann
for line in sys.stdin:
    folder, signature, given, found = line.rstrip("\\n").split("\\t")
    inputs = {name: tf.constant(value.tolist()) for name, value in np.load(given, allow_pickle=True).items()}
    outputs = tf.saved_model.load(folder).signatures[signature](**inputs)
    np.savez(found, **{name: value.numpy() for name, value in outputs.items()})
    print("done", flush=True)
"""
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
        groups: of the schema, with OWN_FEATURES.
        tf_transform: Transform's output.
        raw_files: gzipped TFRecords by split.
        transformed_files: gzipped TFRecords by split.
        transformed: parsed transformed rows by split, in the raw rows' order.
        taste: by item id.
    """

    train: list[dict]
    evaluation: list[dict]
    catalog: list[dict]
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
        """The first transformed train rows, as the trainer parses them."""
        import tensorflow as tf

        from trainer.inputs import training_spec

        records = tf.data.TFRecordDataset(self.transformed_files["train"], "GZIP")
        return tf.io.parse_example(next(iter(records.batch(num_rows))), training_spec(self.tf_transform, self.groups))


@dataclass(frozen=True)
class Trained:
    """A trained model, its export, and its loss on the first 64 train rows before and after training."""

    model: Any
    folder: str
    loss_before: float
    loss_after: float


def serialize(row: dict) -> bytes:
    """One tf.Example, by TensorFlow's own protos."""
    from tensorflow.core.example.example_pb2 import Example

    example = Example()
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(text.encode() for text in values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return example.SerializeToString()


def _items(random: np.random.Generator) -> dict[str, dict]:
    items = {}
    for taste in TASTES:
        for number in range(ITEMS_PER_TASTE):
            item_id = f"{taste.lower()}{number:02d}" + ("-ü東" if number == 3 else "")
            items[item_id] = {
                "item_id": item_id,
                "advertiser_id": f"maker-{number % 3}",
                "category": f"Shop > {taste} > {number % 2}",
                "title": f"Item No {number} of Größe {number % 4}",
                "own_score": float(number),
                "own_vector": random.normal(size=3).round(3).tolist(),
            }
            if number == 0:  # the first of each taste has no score
                del items[item_id]["own_score"]
    return items


def _rows(random: np.random.Generator, items: dict[str, dict], num_rows: int) -> list[dict]:
    """A user of a taste buys items of that taste, the first ones more often, and has bought such before."""
    by_taste = {taste: [item for item in items if item[0] == taste.lower()] for taste in TASTES}
    skewed = 1 / np.arange(1, ITEMS_PER_TASTE + 1)
    rows = []
    for number in range(num_rows):
        owned = by_taste[TASTES[number % 2]]
        item_id = str(random.choice(owned, p=skewed / skewed.sum()))
        length = int(random.integers(1, 5))
        row = {
            **items[item_id],
            "user_id": f"u{number % 40}",
            "timestamp_us": number,
            "task": "engagement" if number % 5 == 0 else "conversion",
            "event": "click" if number % 5 == 0 else "purchase",
            "is_repeat": number % 2,
            "positive_rate": float(np.float32(skewed[owned.index(item_id)] / skewed.sum() / 2)),
            "impression_rate": 0.0,
            "user_num_clicks": float(number % 7),
            "surface": ("home", "search")[number % 2 if number % 3 else 0],
            "history_item_id": [str(i) for i in random.choice(owned, length)],
            "history_event": ["purchase"] * length,
            "history_age_days": [float(age) for age in range(1, length + 1)],
            "own_segment": f"segment-{number % 3}",
            "own_note": "Note ONE" if number % 2 else "note two",
        }
        if number % 4 == 0:
            row["subject_item_id"] = str(random.choice(owned))
        if number % 5 == 0:
            row["click_duration_s"] = float(number % 200)
        rows.append(row)
    return rows


@pytest.fixture(scope="session")
def fresh_process(tmp_path_factory):
    """Asks signatures of SavedModels in a process that has seen nothing but their folders."""
    folder = tmp_path_factory.mktemp("fresh_process")
    errors = (folder / "stderr").open("w")
    command = [sys.executable, "-c", _FRESH]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def ask(model: str, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        np.savez(folder / "given.npz", **{name: np.asarray(value) for name, value in inputs.items()})
        print(model, signature, folder / "given.npz", folder / "found.npz", sep="\t", file=process.stdin, flush=True)
        assert process.stdout.readline() == "done\n", (folder / "stderr").read_text()
        with np.load(folder / "found.npz", allow_pickle=True) as found:
            return dict(found)

    yield ask
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()
    errors.close()


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
    items = _items(random)
    rows = _rows(random, items, 400)
    train, evaluation = rows[:320], rows[320:]
    rate = {row["item_id"]: row["positive_rate"] for row in rows}
    catalog = [{**item, "positive_rate": rate.get(name, 0.0), "impression_rate": 0.0} for name, item in items.items()]
    raw = {"train": train, "eval": evaluation, "catalog": catalog}
    raw_files = {
        split: _write(folder / f"raw/Split-{split}/part.gz", [serialize(row) for row in found])
        for split, found in raw.items()
    }
    transformed_files = _transform(
        folder, schema, {"train": train, "catalog": catalog}, text_format.MessageToString(schema)
    )

    import tensorflow_transform as tft

    tf_transform = tft.TFTransformOutput(str(folder / "transform"))
    return Market(
        train,
        evaluation,
        catalog,
        feature_groups(schema),
        tf_transform,
        raw_files,
        transformed_files,
        {split: _parse(files, tf_transform) for split, files in transformed_files.items()},
        {item_id: item_id[0].upper() for item_id in items},
    )


def _write(path: Path, records: list[bytes]) -> list[str]:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as file:
        for record in records:
            file.write(record)
    return [str(path)]


def _transform(folder: Path, schema: Any, rows: dict[str, list[dict]], schema_text: str) -> dict[str, list[str]]:
    """Analyses both splits together and transforms each, as the pipeline's Transform does."""
    import functools

    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata

    from trainer.preprocessing import preprocessing_fn

    types = {1: tf.string, 2: tf.int64, 3: tf.float32}
    spec = {feature.name: tf.io.VarLenFeature(types[feature.type]) for feature in schema.feature}
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(spec)
    function = functools.partial(preprocessing_fn, custom_config={"schema": schema_text})
    marked = [_instance(row, spec) for split in rows for row in rows[split]]
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(folder / "temporary")):
        raw = pipeline | beam.Create(marked, reshuffle=False)
        transform = (raw, metadata) | tft_beam.AnalyzeDataset(function)
        _ = transform | tft_beam.WriteTransformFn(str(folder / "transform"))
    return _apply_transform(folder, spec, rows)


def _apply_transform(folder: Path, spec: dict, rows: dict[str, list[dict]]) -> dict[str, list[str]]:
    import tensorflow as tf
    import tensorflow_transform as tft

    output = tft.TFTransformOutput(str(folder / "transform"))
    layer = output.transform_features_layer()
    coder = tft.coders.ExampleProtoCoder(output.transformed_metadata.schema)
    files = {}
    for split, found in rows.items():
        transformed = layer(tf.io.parse_example([serialize(row) for row in found], spec))
        columns = {name: _column(value) for name, value in transformed.items()}
        records = [
            coder.encode({name: column[number] for name, column in columns.items()}) for number in range(len(found))
        ]
        files[split] = _write(folder / f"transformed/Split-{split}/part.gz", records)
    return files


def _column(value: Any) -> list:
    import tensorflow as tf

    if not isinstance(value, tf.SparseTensor):
        return list(value.numpy())
    rows, values = value.indices.numpy()[:, 0], value.values.numpy()
    return [values[rows == number] for number in range(value.dense_shape[0])]


def _instance(row: dict, spec: dict) -> dict:
    return {name: row[name] if isinstance(row.get(name), list) else [row[name]] if name in row else [] for name in spec}


def _parse(files: list[str], tf_transform: Any) -> list[dict]:
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(files, "GZIP"))
    columns = {n: _column(v) for n, v in tf.io.parse_example(records, tf_transform.transformed_feature_spec()).items()}
    return [{name: column[number] for name, column in columns.items()} for number in range(len(records))]


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
    from trainer.inputs import training_batches
    from trainer.inputs import training_spec
    from trainer.run import build_model

    folder = tmp_path_factory.mktemp("trained")
    config = small_config(learning_rate=0.01, seed=3)
    tf.keras.utils.set_random_seed(config.seed)
    model = build_model(market.tf_transform, market.groups, market.transformed_files["catalog"], config)
    batch = market.batch(64)
    before = float(model.compute_loss(batch))
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(config.learning_rate))
    step = tf.function(model.train_step, autograph=False)
    spec = training_spec(market.tf_transform, market.groups)
    batches = training_batches(market.transformed_files["train"], spec, batch_size=64, seed=config.seed)
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
