"""preprocessing_fn: raw features to transformed ones, each as its schema entry says, in one graph for both towers."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import tables
from schemas.features import MAX_PATH_LEVELS
from schemas.features import Feature
from schemas.features import FeatureGroups
from schemas.features import feature_groups

PADDING = 0
"""Index of a missing or unknown value; a vocabulary's own entries start at 1."""
MAX_VOCABULARY = 200_000
"""Most entries of a vocabulary but those of ids, which are whole."""
_SEPARATORS = r"[^\p{L}\p{M}\p{N}]+"


def preprocessing_fn(inputs: dict[str, tf.SparseTensor], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Transforms every feature of the schema.

    Args:
        inputs: SparseTensor [batch, n] by feature name; a missing value has no entry.
        custom_config: `schema`, the effective schema in text format.

    Returns:
        By `<name>_xf`: an id or categorical, int64 [batch], `PADDING` where missing or unknown; text, sparse int64
        [batch, n]; a path, int64 [batch, MAX_PATH_LEVELS]; a numeric, float32 [batch], z-scored logarithm, 0 where
        missing; a vector, float32 [batch, length]; history lists, sparse [batch, n]. By their own names, labels, keys
        and sampling rates that the trainer reads.
    """
    groups = feature_groups(text_format.Parse(custom_config["schema"], schema_pb2.Schema()))
    outputs: dict[str, Any] = {}
    vocabularies: dict[str, Any] = {}
    owners_first = sorted((*groups.item, *groups.query), key=lambda feature: feature.vocabulary != feature.name)
    for feature in owners_first:
        outputs[feature.transformed_name] = _transform(feature, inputs[feature.name], vocabularies)
    outputs.update(_labels(groups, inputs))
    return outputs


def _transform(feature: Feature, raw: tf.SparseTensor, vocabularies: dict[str, Any]) -> Any:
    if feature.role == "history":
        return _history(feature, raw, vocabularies)
    if feature.treatment == "numeric":
        return _numeric(raw)
    if feature.treatment == "popularity":
        return _first(raw, 0.0)
    if feature.treatment == "vector":
        dense = tf.sparse.to_dense(tf.SparseTensor(raw.indices, raw.values, [raw.dense_shape[0], feature.length]))
        return tf.reshape(dense, [-1, feature.length])
    if feature.treatment == "text":
        return _apply(feature, tokens(_first(raw, "")), vocabularies)
    if feature.treatment == "path":
        return _densify(_apply(feature, prefixes(_first(raw, "")), vocabularies), MAX_PATH_LEVELS)
    return _densify(_apply(feature, raw, vocabularies), 1)[:, 0]


def tokens(texts: tf.Tensor) -> tf.SparseTensor:
    """Lower-case words of letters and digits, in any script; [batch] string -> sparse [batch, n]."""
    lowered = tf.strings.lower(texts, encoding="utf-8")
    words = tf.strings.split(tf.strings.regex_replace(lowered, _SEPARATORS, " "))
    return words.to_sparse()


def prefixes(paths: tf.Tensor) -> tf.SparseTensor:
    """`a > b > c` -> `a`, `a > b`, `a > b > c`; [batch] string -> sparse [batch, MAX_PATH_LEVELS]."""
    separator = tables.CATEGORY_SEPARATOR
    levels = tf.strings.split(paths, separator).to_tensor("", shape=[None, MAX_PATH_LEVELS])
    joined = [
        tf.where(
            levels[:, level] == "", "", tf.strings.reduce_join(levels[:, : level + 1], axis=1, separator=separator)
        )
        for level in range(MAX_PATH_LEVELS)
    ]
    dense = tf.stack(joined, axis=1)
    where = tf.where(dense != "")
    return tf.SparseTensor(where, tf.gather_nd(dense, where), tf.shape(dense, out_type=tf.int64))


def _history(feature: Feature, raw: tf.SparseTensor, vocabularies: dict[str, Any]) -> tf.SparseTensor:
    if feature.is_string:
        return _apply(feature, raw, vocabularies)
    return tf.SparseTensor(raw.indices, tf.math.log1p(tf.maximum(raw.values, 0.0)), raw.dense_shape)


def _apply(feature: Feature, raw: tf.SparseTensor, vocabularies: dict[str, Any]) -> tf.SparseTensor:
    """Indexes with the feature's vocabulary, which its owner builds from train and catalog."""
    if feature.vocabulary not in vocabularies:
        vocabularies[feature.vocabulary] = tft.vocabulary(
            raw, vocab_filename=feature.vocabulary, top_k=None if feature.treatment == "id" else MAX_VOCABULARY
        )
    indexed = tft.apply_vocabulary(raw, vocabularies[feature.vocabulary], default_value=PADDING - 1)
    return tf.SparseTensor(indexed.indices, indexed.values + 1, indexed.dense_shape)


def _numeric(raw: tf.SparseTensor) -> tf.Tensor:
    logarithm = tf.sign(raw.values) * tf.math.log1p(tf.abs(raw.values))
    scaled = tft.scale_to_z_score(tf.SparseTensor(raw.indices, logarithm, raw.dense_shape))
    finite = tf.where(tf.math.is_finite(scaled.values), scaled.values, 0.0)
    return _first(tf.SparseTensor(scaled.indices, finite, scaled.dense_shape), 0.0)


def _first(raw: tf.SparseTensor, default: Any) -> tf.Tensor:
    """[batch]: the first value of each row."""
    return _densify(raw, 1, default)[:, 0]


def _densify(raw: tf.SparseTensor, length: int, default: Any = 0) -> tf.Tensor:
    """[batch, length]: the first values of each row."""
    kept = tf.sparse.retain(raw, raw.indices[:, 1] < length)
    dense = tf.sparse.to_dense(tf.SparseTensor(kept.indices, kept.values, [raw.dense_shape[0], length]), default)
    return tf.reshape(dense, [-1, length])


def _labels(groups: FeatureGroups, inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    wanted = {"task": "", "event": "", "click_duration_s": -1.0, "value": -1.0}
    wanted |= {"positive_rate": 0.0, "impression_rate": 0.0}
    labels = {name: _first(inputs[name], default) for name, default in wanted.items() if name in groups}
    return {**labels, "timestamp_us": _first(inputs["timestamp_us"], 0), "user_id": _first(inputs["user_id"], "")}
