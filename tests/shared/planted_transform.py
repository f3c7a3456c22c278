"""Analyses and transforms rows as the pipeline's Transform does, and reads and writes records."""

from pathlib import Path
from typing import Any


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


def write_records(path: Path, records: list[bytes]) -> list[str]:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as file:
        for record in records:
            file.write(record)
    return [str(path)]


def transform(folder: Path, schema: Any, rows: dict[str, list[dict]], schema_text: str) -> dict[str, list[str]]:
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
        files[split] = write_records(folder / f"transformed/Split-{split}/part.gz", records)
    return files


def _column(value: Any) -> list:
    import tensorflow as tf

    if not isinstance(value, tf.SparseTensor):
        return list(value.numpy())
    rows, values = value.indices.numpy()[:, 0], value.values.numpy()
    return [values[rows == number] for number in range(value.dense_shape[0])]


def _instance(row: dict, spec: dict) -> dict:
    return {name: row[name] if isinstance(row.get(name), list) else [row[name]] if name in row else [] for name in spec}


def parse_records(files: list[str], tf_transform: Any) -> list[dict]:
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(files, "GZIP"))
    columns = {n: _column(v) for n, v in tf.io.parse_example(records, tf_transform.transformed_feature_spec()).items()}
    return [{name: column[number] for name, column in columns.items()} for number in range(len(records))]
