"""Batches of transformed examples for training."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import FeatureGroups
from trainer.associations import Rows
from trainer.history import latest_actions
from trainer.tables import dense_lists

MIN_VALIDATION_ROWS = 50
_SHUFFLE_BUFFER = 50_000
_READ_BATCH = 1024
_VALIDATION_BATCH = 64
_USER_HASHES = 2**62
_USER_BUCKETS = 2**20  # users who share one are weighed as one
USER_WEIGHT = "user_weight"
ITEM = "item_id_xf"
_LABELS = ("task", "event", "click_duration_s", "value", "positive_rate", "impression_rate")


def training_spec(
    tf_transform: tft.TFTransformOutput, groups: FeatureGroups
) -> dict[str, tf.io.VarLenFeature | tf.io.FixedLenFeature]:
    """Feature specs of what the model reads: tower inputs, labels and sampling rates; lists are ragged."""
    full = tf_transform.transformed_feature_spec()
    names = [feature.transformed_name for feature in (*groups.query, *groups.item)]
    return {name: _ragged(full[name]) for name in (*names, *_LABELS) if name in full}


class TimeSplit(NamedTuple):
    """Which train rows are held out for validation: the latest.

    Attributes:
        boundary_us: rows from this moment on are held out, microseconds.
        num_train: rows before it.
        user_counts: [buckets] int64, of them by hash of the user.
        item_counts: [n] int64, of them by index of the item.
        rows: all train rows, those held out too.
    """

    boundary_us: int
    num_train: int
    user_counts: np.ndarray
    item_counts: np.ndarray
    rows: Rows


def split_by_time(files: list[str], *, share: float) -> TimeSplit:
    """By one pass over the files; nothing is held out when `share` is 0 or all rows have one moment."""
    found = [tuple(part.numpy() for part in parts) for parts in _records(files).map(_user_moment_and_item)]
    empty = np.zeros(0, np.int64)
    rows = Rows(*(np.concatenate([empty, *(part[place] for part in found)]) for place in range(3)))
    moments = rows.moments_us
    boundary = np.iinfo(np.int64).max
    if len(moments) and share and moments.min() < moments.max():
        boundary = max(int(np.quantile(moments, 1 - share, method="higher")), int(moments.min()) + 1)
    is_train = moments < boundary
    by_user = np.bincount(rows.users[is_train] % _USER_BUCKETS, minlength=_USER_BUCKETS)
    by_item = np.bincount(rows.items[is_train])
    return TimeSplit(int(boundary), int(np.count_nonzero(is_train)), by_user, by_item, rows)


class Part(NamedTuple):
    """Every `number`-th batch, from the `first` on: what one of several workers reads."""

    number: int
    first: int


WHOLE = Part(1, 0)


def training_batches(
    files: list[str],
    spec: dict[str, tf.io.FixedLenFeature],
    split: TimeSplit,
    *,
    batch_size: int,
    user_balance: float,
    max_history: int,
    seed: int,
    first: int = 0,
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """Passes without end over the rows that are trained on, each shuffled anew, in whole batches.

    Args:
        files: gzipped TFRecords of transformed examples.
        spec: from `training_spec`.
        split: what is held out.
        batch_size: rows, at most those that are trained on; what is left over at the end of a pass comes another pass.
        user_balance: a row of a user with n rows weighs `n ** -user_balance`.
        max_history: latest actions of a history that are kept.
        seed: of the shuffles.
        first: batches that are left out, as if they had been read before.
        part: of the batches that follow.

    Returns:
        Dicts of [batch] and, for lists, padded [batch, n] tensors; `USER_WEIGHT` [batch] float32 is among them.
    """
    weights = tf.constant(np.maximum(split.user_counts, 1.0) ** -user_balance, tf.float32)

    def parse(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        users, _, _ = _user_moment_and_item(batch)
        ragged = latest_actions(tf.io.parse_example(batch, spec), max_history)
        # Padded here and not in the step: the operation has no kernel for a GPU.
        features = {name: dense_lists(v) if isinstance(v, tf.RaggedTensor) else v for name, v in ragged.items()}
        return {**features, USER_WEIGHT: tf.gather(weights, users % _USER_BUCKETS)}

    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        rows = (
            _records(files).map(lambda batch: tf.boolean_mask(batch, _moment_of(batch) < split.boundary_us)).unbatch()
        )
        shuffled = rows.shuffle(_SHUFFLE_BUFFER, seed=seed + number, reshuffle_each_iteration=False)
        return shuffled.batch(batch_size, drop_remainder=True)

    pass_number, place = divmod(first, split.num_train // batch_size)
    passes = tf.data.Dataset.range(pass_number, tf.int64.max).flat_map(one_pass)
    # What others read is not parsed: that is most of the work.
    own = passes.skip(place).shard(*part)
    return own.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def validation_batches(
    files: list[str], spec: dict[str, tf.io.FixedLenFeature], split: TimeSplit, *, max_rows: int, max_history: int
) -> list[dict[str, tf.Tensor | tf.RaggedTensor]]:
    """Batches of held-out conversions, `max_rows` at most (rows come mixed); none below `MIN_VALIDATION_ROWS`.

    Histories are cut as in training.
    """
    spec = {**spec, "user_id": tf.io.FixedLenFeature([], tf.string)}

    def held_out(batch: tf.Tensor) -> tf.Tensor:
        task = tf.io.parse_example(batch, {"task": tf.io.FixedLenFeature([], tf.string)})["task"]
        return tf.boolean_mask(batch, (_moment_of(batch) >= split.boundary_us) & (task == "conversion"))

    rows = _records(files).map(held_out).unbatch().take(max_rows).batch(_VALIDATION_BATCH)
    batches = [latest_actions(tf.io.parse_example(batch, spec), max_history) for batch in rows]
    return batches if sum(len(batch["task"]) for batch in batches) >= MIN_VALIDATION_ROWS else []


def _records(files: list[str]) -> tf.data.Dataset:
    """Batches of serialized rows."""
    return tf.data.TFRecordDataset(sorted(files), compression_type="GZIP", num_parallel_reads=2).batch(_READ_BATCH)


def _moment_of(batch: tf.Tensor) -> tf.Tensor:
    return _user_moment_and_item(batch)[1]


def _user_moment_and_item(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """[batch] int64 hashes of the user, microseconds, and indices of the item."""
    kinds = {"timestamp_us": tf.int64, "user_id": tf.string, ITEM: tf.int64}
    parsed = tf.io.parse_example(batch, {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()})
    users = tf.strings.to_hash_bucket_fast(parsed["user_id"], _USER_HASHES)
    return users, parsed["timestamp_us"], parsed[ITEM]


def _ragged(spec: tf.io.VarLenFeature | tf.io.FixedLenFeature) -> tf.io.RaggedFeature | tf.io.FixedLenFeature:
    if isinstance(spec, tf.io.VarLenFeature):
        return tf.io.RaggedFeature(spec.dtype, row_splits_dtype=tf.int64)
    return spec
