"""Embedding tables, one per vocabulary, shared by both towers; and what the catalogue says about an item's content."""

from collections.abc import Iterable

import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import Feature
from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.preprocessing import PADDING

ITEM_VOCABULARY = "item_id"
_INITIAL_STDDEV = 0.03


class EmbeddingTables(tf.keras.layers.Layer):
    """One embedding table per vocabulary of the schema.

    Args:
        sizes: number of entries by vocabulary, padding included.
        config: widths.
    """

    def __init__(self, sizes: dict[str, int], config: TrainerConfig) -> None:
        super().__init__(name="tables")
        self.item_dim = config.item_dim
        self._tables = {
            name: _table(name, size, config.item_dim if name == ITEM_VOCABULARY else config.feature_dim)
            for name, size in sizes.items()
        }
        self._identity = tf.keras.layers.Dense(config.output_dim, use_bias=False, kernel_initializer="identity")

    def lookup(self, feature: Feature, indices: tf.Tensor) -> tf.Tensor:
        """int64 [...] -> float32 [..., width]."""
        return self._tables[feature.vocabulary](indices)

    def identity(self, item_vectors: tf.Tensor) -> tf.Tensor:
        """[batch, item_dim] of the item table -> [batch, output_dim], by one map for both towers."""
        return self._identity(item_vectors)

    def mean(self, feature: Feature, indices: tf.Tensor) -> tf.Tensor:
        """int64 [batch, n], `PADDING` ignored -> float32 [batch, width]; zeros for an empty row."""
        mask = tf.cast(indices != PADDING, tf.float32)[..., tf.newaxis]
        total = tf.reduce_sum(self.lookup(feature, indices) * mask, axis=1)
        return total / tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)


def _table(name: str, size: int, width: int) -> tf.keras.layers.Embedding:
    """Rows start short, so that what is not learned says little."""
    initializer = tf.keras.initializers.RandomNormal(stddev=_INITIAL_STDDEV)
    return tf.keras.layers.Embedding(size, width, embeddings_initializer=initializer, name=f"table_{name}")


class ItemContent(tf.Module):
    """Indices of every item's content features, so that a history knows more of an item than its id.

    Args:
        features: categorical, path and text features of the item, but its id.
        widths: columns by feature.
        num_items: entries of the item vocabulary, padding included.
    """

    def __init__(self, features: Iterable[Feature], widths: dict[str, int], num_items: int) -> None:
        super().__init__(name="item_content")
        self.features = tuple(features)
        self._columns = {
            feature.name: tf.Variable(
                tf.zeros([num_items, widths[feature.name]], tf.int32), trainable=False, name=f"content_{feature.name}"
            )
            for feature in self.features
        }

    def fill(self, batches: Iterable[dict[str, tf.Tensor | tf.RaggedTensor]]) -> None:
        """Reads the transformed catalogue; an item that it does not hold has no content."""
        columns = {name: variable.numpy() for name, variable in self._columns.items()}
        for batch in batches:
            ids = batch[f"{ITEM_VOCABULARY}_xf"].numpy()
            for feature in self.features:
                values = dense_indices(batch[feature.transformed_name]).numpy()
                width = min(values.shape[1], columns[feature.name].shape[1])
                columns[feature.name][ids, :width] = values[:, :width]
        for name, variable in self._columns.items():
            columns[name][PADDING] = PADDING
            variable.assign(columns[name])

    def lookup(self, feature: Feature, item_indices: tf.Tensor) -> tf.Tensor:
        """int64 [n] items -> int32 [n, width] indices of the feature."""
        return tf.gather(self._columns[feature.name], item_indices)


def content_features(groups: FeatureGroups) -> tuple[Feature, ...]:
    """Item features that an index describes, but the id itself."""
    return tuple(
        feature
        for feature in groups.item
        if feature.is_string and feature.name != ITEM_VOCABULARY and not feature.is_performance
    )


def vocabulary_sizes(tf_transform: tft.TFTransformOutput, groups: FeatureGroups) -> dict[str, int]:
    """Entries of each vocabulary, padding included."""
    names = {feature.vocabulary for feature in (*groups.query, *groups.item) if feature.is_string}
    return {name: tf_transform.vocabulary_size_by_name(name) + 1 for name in sorted(names)}


def dense_indices(values: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    """[batch], [batch, n] or ragged indices -> [batch, n], padded."""
    if isinstance(values, tf.RaggedTensor):
        return values.to_tensor(PADDING)
    return values[:, tf.newaxis] if values.shape.rank == 1 else values
