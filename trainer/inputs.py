"""Batches of transformed examples for training."""

import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import FeatureGroups

_SHUFFLE_BUFFER = 50_000
_LABELS = ("task", "click_duration_s", "value", "positive_rate")


def training_spec(
    tf_transform: tft.TFTransformOutput, groups: FeatureGroups
) -> dict[str, tf.io.VarLenFeature | tf.io.FixedLenFeature]:
    """Feature specs of what the model reads: tower inputs, labels and sampling rates; lists are ragged."""
    full = tf_transform.transformed_feature_spec()
    names = [feature.transformed_name for feature in (*groups.query, *groups.item)]
    return {name: _ragged(full[name]) for name in (*names, *_LABELS) if name in full}


def training_batches(
    files: list[str], spec: dict[str, tf.io.FixedLenFeature], *, batch_size: int, seed: int
) -> tf.data.Dataset:
    """One shuffled pass over the files, in whole batches.

    Args:
        files: gzipped TFRecords of transformed examples.
        spec: from `training_spec`.
        batch_size: rows; what is left over at the end of a pass comes another pass, for each pass is shuffled anew.
        seed: of the shuffle.

    Returns:
        Dicts of [batch] tensors and, for lists, RaggedTensors.
    """
    records = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP", num_parallel_reads=2)
    return (
        records.shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
        .batch(batch_size, drop_remainder=True)
        .map(lambda batch: tf.io.parse_example(batch, spec), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
    )


def count_records(files: list[str]) -> int:
    """Number of records, by one pass over the files."""
    records = tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=2)
    zero = tf.constant(0, tf.int64)
    return int(records.batch(4096).reduce(zero, lambda total, batch: total + tf.shape(batch, tf.int64)[0]))


def _ragged(spec: tf.io.VarLenFeature | tf.io.FixedLenFeature) -> tf.io.RaggedFeature | tf.io.FixedLenFeature:
    if isinstance(spec, tf.io.VarLenFeature):
        return tf.io.RaggedFeature(spec.dtype, row_splits_dtype=tf.int64)
    return spec
