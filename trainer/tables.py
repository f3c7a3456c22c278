"""Embedding tables, one per vocabulary, shared by both towers; and the catalogue as the towers see it."""

from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import MAX_PATH_LEVELS
from schemas.features import Feature
from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.preprocessing import PADDING

ITEM_VOCABULARY = "item_id"
EVENT_VOCABULARY = "history_event"
Features = dict[str, tf.Tensor | tf.RaggedTensor]
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

    def whole(self, feature: Feature) -> tf.Tensor:
        """float32 [entries, width] of the feature's vocabulary."""
        table = self._tables[feature.vocabulary]
        return table(tf.range(table.input_dim, dtype=tf.int64))

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


class CatalogTable(tf.Module):
    """Transformed features of every item by its index.

    With it, a history knows more of an item than its id, and an item that no row of the batch brings can be a positive or a
    negative.

    Args:
        features: of the item tower; performance features are left out, for they belong to a day.
        num_items: entries of the item vocabulary, padding included.
        title_tokens: words of a text that are kept.
    """

    def __init__(self, features: Iterable[Feature], num_items: int, *, title_tokens: int) -> None:
        super().__init__(name="catalog")
        self.num_items = num_items
        self._features = tuple(features)
        self._columns = {
            feature.name: tf.Variable(
                # Indices of 32 bits would stay with the host: no GPU gathers them.
                tf.zeros([num_items, _width(feature, title_tokens)], tf.int64 if feature.is_string else tf.float32),
                trainable=False,
                name=f"catalog_{feature.name}",
            )
            for feature in self._features
            if feature.name != ITEM_VOCABULARY and not feature.is_performance
        }

    @property
    def content(self) -> tuple[Feature, ...]:
        """Categorical, path and text features of an item, but its id."""
        return tuple(feature for feature in self._features if feature.is_string and feature.name in self._columns)

    def fill(self, batches: Iterable[Features]) -> None:
        """Reads the transformed catalogue; an item that it does not hold has zeros."""
        columns = {name: variable.numpy() for name, variable in self._columns.items()}
        for batch in batches:
            ids = batch[f"{ITEM_VOCABULARY}_xf"].numpy()
            for feature in self._features:
                if feature.name in columns:
                    values = dense_lists(batch[feature.transformed_name]).numpy()
                    width = min(values.shape[1], columns[feature.name].shape[1])
                    columns[feature.name][ids, :width] = values[:, :width]
        for name, variable in self._columns.items():
            columns[name][PADDING] = 0
            variable.assign(columns[name])

    @contextmanager
    def popularity_from(self, counts: np.ndarray) -> Iterator[None]:
        """Within, an item's popularity is its share of `counts`, [n <= num_items] by index, and not the catalogue's."""
        column = self._columns["positive_rate"]
        whole = column.numpy()
        padded = np.pad(counts, [0, self.num_items - len(counts)]).astype(np.float32)
        column.assign(padded[:, np.newaxis] / max(1.0, padded.sum()))
        try:
            yield
        finally:
            column.assign(whole)

    def lookup(self, feature: Feature, items: tf.Tensor) -> tf.Tensor:
        """int64 [n] items -> [n, width] indices or numbers of the feature."""
        return tf.gather(self._columns[feature.name], items)

    def column(self, name: str) -> tf.Tensor:
        """[num_items] the feature of every item, of one that has a single value."""
        return self._columns[name][:, 0]

    def rates(self, items: tf.Tensor) -> tf.Tensor:
        """int64 [n] items -> [n] float32 shares of the train positives."""
        return tf.gather(self._columns["positive_rate"], items)[:, 0]

    def rows(self, items: tf.Tensor) -> dict[str, tf.Tensor]:
        """int64 [n] items -> what the item tower reads; performance is that of a mean item."""
        found = {f"{ITEM_VOCABULARY}_xf": items}
        for feature in self._features:
            if feature.name in self._columns:
                values = self.lookup(feature, items)
                is_list = feature.treatment in ("text", "path", "vector")
                found[feature.transformed_name] = values if is_list else values[:, 0]
            elif feature.is_performance:
                found[feature.transformed_name] = tf.zeros_like(items, tf.float32)
        return found


def _width(feature: Feature, title_tokens: int) -> int:
    return {"path": MAX_PATH_LEVELS, "text": title_tokens, "vector": feature.length}.get(feature.treatment, 1)


def vocabulary_sizes(tf_transform: tft.TFTransformOutput, groups: FeatureGroups) -> dict[str, int]:
    """Entries of each vocabulary, padding included."""
    names = {feature.vocabulary for feature in (*groups.query, *groups.item) if feature.is_string}
    return {name: tf_transform.vocabulary_size_by_name(name) + 1 for name in sorted(names)}


def dense_lists(values: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    """[batch], [batch, n] or ragged -> [batch, n], with `PADDING`, 0 among numbers, after the end of a shorter list."""
    if isinstance(values, tf.RaggedTensor):
        return values.to_tensor(PADDING)
    return values[:, tf.newaxis] if values.shape.rank == 1 else values
