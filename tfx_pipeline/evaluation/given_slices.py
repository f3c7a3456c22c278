"""Slices by any feature of the examples: its values, or thirds of its numbers."""

import numpy as np
import tensorflow as tf

UNKNOWN = "unknown"
_BATCH = 4096
_KINDS = {"bytes_list": tf.string, "float_list": tf.float32, "int64_list": tf.int64}


def given_slices(records: list[bytes], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """By feature, [rows] str; of a list the first value.

    Args:
        records: [rows] serialized examples.
        names: features.

    Raises:
        ValueError: no row has the feature.
    """
    return {name: _slices(records, name) for name in names}


def thirds(numbers: np.ndarray) -> np.ndarray:
    """[rows] str: which third of the known numbers each is in."""
    is_known = np.isfinite(numbers)
    if not is_known.any():
        return np.full(len(numbers), UNKNOWN)
    low, high = np.quantile(numbers[is_known], [1 / 3, 2 / 3])
    bands = np.where(numbers <= low, f"up to {low:.2f}", np.where(numbers <= high, f"up to {high:.2f}", "above"))
    return np.where(is_known, bands, UNKNOWN)


def _slices(records: list[bytes], name: str) -> np.ndarray:
    kind = _kind(records, name)
    if kind is None:
        if not records:
            return np.zeros(0, np.str_)
        known = ", ".join(sorted(tf.train.Example.FromString(records[0]).features.feature))
        raise ValueError(
            f"evaluation.slice_features must name features of the split eval. Received: {name}; a row of it has {known}"
        )
    default = UNKNOWN if kind == tf.string else kind.min
    parts = []
    for start in range(0, len(records), _BATCH):
        batch = tf.constant(records[start : start + _BATCH])
        values = tf.io.parse_example(batch, {name: tf.io.RaggedFeature(kind)})[name]
        parts.append(values[:, :1].to_tensor(default, shape=[None, 1])[:, 0].numpy())
    found = np.concatenate(parts)
    if kind == tf.string:
        return found.astype(np.str_)
    return thirds(np.where(found == kind.min, np.nan, found.astype(np.float64)))


def _kind(records: list[bytes], name: str) -> tf.DType | None:
    for record in records:
        features = tf.train.Example.FromString(record).features.feature
        kind = features[name].WhichOneof("kind") if name in features else None
        if kind:
            return _KINDS[kind]
    return None
