"""The Transformer over a history: what the order and the mix of actions say beside their weighted sum."""

import tensorflow as tf

from schemas.features import Feature
from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.history import NUM_AGE_BUCKETS
from trainer.history import age_buckets
from trainer.preprocessing import PADDING
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import CatalogTable
from trainer.tables import EmbeddingTables
from trainer.tables import Features
from trainer.tables import dense_lists


class HistoryTransformer(tf.keras.layers.Layer):
    """Ragged lists [batch, n] -> [batch, item_dim]: the mean of the encoded actions, zeros for an empty history.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with the normalisation first. A token is the sum of the item (its
    id's vector and its content, mapped to one width), the event type and the age; ages stand for positions, so that the actions of
    one basket, which share a moment, have no order.

    Args:
        groups: features of the schema.
        tables: shared with the towers.
        content: features of the items in a history that are read beside their ids.
        catalog: where they are looked up.
        config: `transformer_layers`, `transformer_heads`, `dropout`.
        random: of the dropout.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        tables: EmbeddingTables,
        content: tuple[Feature, ...],
        catalog: CatalogTable,
        config: TrainerConfig,
        *,
        random: tf.random.Generator,
    ) -> None:
        super().__init__(name="history_transformer")
        self._item = groups["history_item_id"]
        self._event = groups[EVENT_VOCABULARY]
        self._age = groups["history_age_days"]
        self._tables = tables
        self._content = content
        self._catalog = catalog
        width = config.item_dim
        self._of_item = tf.keras.layers.Dense(width, use_bias=False)
        self._of_event = tf.keras.layers.Dense(width, use_bias=False)
        self._of_age = tf.keras.layers.Embedding(NUM_AGE_BUCKETS, width, name="table_transformer_age")
        self._blocks = [_Block(config, random=random, name=f"block_{i}") for i in range(config.transformer_layers)]
        self._last_norm = tf.keras.layers.LayerNormalization()

    def call(self, features: Features, shown: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """`shown`, [batch, n] bool, is what may be read of the history, all by default."""
        items = dense_lists(features[self._item.transformed_name])
        seen = items != PADDING if shown is None else shown
        events = self._tables.lookup(self._event, dense_lists(features[self._event.transformed_name]))
        ages = age_buckets(features[self._age.transformed_name])
        tokens = self._items(items) + self._of_event(events) + self._of_age(ages)
        for block in self._blocks:
            tokens = block(tokens, seen, training=training)
        weights = tf.cast(seen, tf.float32)
        total = tf.einsum("bn,bnd->bd", weights, self._last_norm(tokens))
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1, keepdims=True))

    def _items(self, items: tf.Tensor) -> tf.Tensor:
        """[batch, n] -> [batch, n, width], each distinct item looked up once."""
        unique, positions = tf.unique(tf.reshape(items, [-1]))
        content = [self._tables.mean(f, self._catalog.lookup(f, unique)) for f in self._content]
        vectors = self._of_item(tf.concat([self._tables.lookup(self._item, unique), *content], axis=1))
        return tf.gather(vectors, tf.reshape(positions, tf.shape(items)))


class _Block(tf.keras.layers.Layer):
    """Attention among the actions that are seen, then a dense layer on each; both added to their input."""

    def __init__(self, config: TrainerConfig, *, random: tf.random.Generator, name: str) -> None:
        super().__init__(name=name)
        width, heads = config.item_dim, config.transformer_heads
        self._norms = [tf.keras.layers.LayerNormalization() for _ in range(2)]
        self._attention = tf.keras.layers.MultiHeadAttention(heads, max(1, width // heads))
        self._dropout = config.dropout
        self._random = random
        self._inner = tf.keras.layers.Dense(2 * width, activation="relu")
        self._outer = tf.keras.layers.Dense(width)

    def call(self, tokens: tf.Tensor, seen: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[batch, n, width] and [batch, n] bool -> [batch, n, width]."""
        normal = self._norms[0](tokens)
        found = self._attention(normal, normal, attention_mask=seen[:, tf.newaxis, :])
        if training and self._dropout:
            found = tf.nn.experimental.general_dropout(found, self._dropout, self._random.uniform)
        tokens += found
        return tokens + self._outer(self._inner(self._norms[1](tokens)))
