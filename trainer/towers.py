"""The query tower and the item tower: features to vectors, DCN-v2 Cross layers in parallel with a dense stack."""

import tensorflow as tf
import tensorflow_recommenders as tfrs

from schemas.features import Feature
from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.history import ActionWeights
from trainer.history import latest_actions
from trainer.history import weighted_sums
from trainer.history_transformer import HistoryTransformer
from trainer.preprocessing import PADDING
from trainer.tables import ITEM_VOCABULARY
from trainer.tables import CatalogTable
from trainer.tables import EmbeddingTables
from trainer.tables import Features
from trainer.tables import dense_lists

CONVERSION_HEAD = 0
"""Place of the head that conversions train, which is served; with `heads=unified` the only one."""


class CrossAndDense(tf.keras.layers.Layer):
    """[batch, width] -> [batch, heads, output_dim].

    Cross layers: Wang et al., "DCN V2", WWW 2021. `parallel`: both on the same input, concatenated; published for
    conversion retrieval (see the README). With `heads=multi`, two linear maps of the same layers' output.
    """

    def __init__(self, config: TrainerConfig, *, random: tf.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self._architecture = config.architecture
        rank = config.cross_projection_dim or None
        # What layers compute in; their weights are float32.
        policy = tf.keras.mixed_precision.Policy("mixed_bfloat16" if config.mixed_precision else "float32")
        self._crosses = [
            tfrs.layers.dcn.Cross(projection_dim=rank, dtype=policy) for _ in range(config.num_cross_layers)
        ]
        self._stack = [tf.keras.layers.Dense(units, activation="relu", dtype=policy) for units in config.dense_units]
        self._dropout = config.dropout
        self._random = random
        # Starts near zero: the first logits are the popularity's alone.
        near_zero = tf.keras.initializers.RandomNormal(stddev=0.01)
        self._output_shape = [-1, config.num_heads, config.output_dim]
        width = config.num_heads * config.output_dim
        self._head = tf.keras.layers.Dense(width, use_bias=False, kernel_initializer=near_zero, dtype=policy)
        self._step_mix = self._mix
        if config.jit_compile:
            compiled = tf.function(self._mix, jit_compile=True, autograph=False)
            # Hidden in a plain function: a tf.function in an attribute would be saved, and need XLA where it is served.
            self._step_mix = lambda x0, training: compiled(x0, training)

    def call(self, x0: tf.Tensor, own: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Combines the two paths as the architecture says, and adds `own`.

        Args:
            x0: [batch, width] all features.
            own: [batch, output_dim] the item's own vector, or the mean of the history's: our addition, by which a repeat
                purchase finds its item again without the layers having to learn the identity.
            training: whether the head's inputs are dropped out.
        """
        mix = self._step_mix if training else self._mix
        return mix(x0, training) + own[:, tf.newaxis, :]

    def _mix(self, x0: tf.Tensor, training: bool) -> tf.Tensor:
        x0 = tf.cast(x0, self._head.compute_dtype)
        crossed, dense = x0, x0
        if self._architecture != "dense":
            for layer in self._crosses:
                crossed = layer(x0, crossed)
        if self._architecture == "sequential":
            dense = crossed
        if self._architecture != "cross":
            for layer in self._stack:
                dense = layer(dense)
        combined = {"parallel": lambda: tf.concat([crossed, dense], axis=1), "cross": lambda: crossed}
        mixed = combined.get(self._architecture, lambda: dense)()
        if training and self._dropout:
            mixed = tf.nn.experimental.general_dropout(mixed, self._dropout, self._random.uniform)
        return tf.cast(tf.reshape(self._head(mixed), self._output_shape), tf.float32)


class ItemTower(tf.keras.layers.Layer):
    """Item features -> [batch, output_dim + 1]: a vector, and the item's popularity.

    The vector is not normalised: one that training hardly touched stays short, and its item is ranked by popularity alone.
    On unit length an item without positives has a random direction, which outweighs what is known of it.

    The last coordinate is `temperature * log(positive_rate)`. With the query's last coordinate, 1, the logit is
    `<u, v> / temperature + log f_j`: the model starts at popularity and learns how a user departs from it. With logQ in
    the loss (see `trainer.losses`) the optimum stays log p(item | query); where positives are few, starting there is
    worth more than anything else that was tried. Once trained, the item's trend is added to the log (see `trainer.trends`);
    `trends` is 0 until then, for a step's row may be older than what it counts.

    Args:
        groups: features of the schema.
        tables: shared with the query tower.
        config: `use_performance`, `item_dropout` and sizes.
        rate_floor: taken for an item without train positives, > 0.
        num_items: entries of the item table.
        random: of what training hides.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        tables: EmbeddingTables,
        config: TrainerConfig,
        *,
        rate_floor: float,
        num_items: int,
        random: tf.random.Generator,
    ) -> None:
        super().__init__(name="item_tower")
        self.trends = self.add_weight("trends", [num_items], initializer="zeros", trainable=False)
        self._features = tuple(
            f for f in groups.item if f.treatment != "popularity" and (config.use_performance or not f.is_performance)
        )
        self._rate = groups["positive_rate"].transformed_name
        self._rate_floor = rate_floor
        self._temperature = config.temperature
        self._tables = tables
        self._item_dropout = config.item_dropout
        self._random = random
        self._body = CrossAndDense(config, random=random, name="item_body")
        self._item = groups[ITEM_VOCABULARY]

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """Of the head that is served."""
        return self.of_heads(features, training=training)[:, CONVERSION_HEAD]

    def of_heads(self, features: Features, training: bool = False) -> tf.Tensor:
        """[batch, heads, output_dim + 1].

        In training, hides some ids, so that content and the unknown id learn to stand for an item.
        """
        features = dict(features)
        key = f"{ITEM_VOCABULARY}_xf"
        trends = tf.gather(self.trends, features[key])
        if training and self._item_dropout > 0:
            shown = self._random.uniform(tf.shape(features[key])) >= self._item_dropout
            features[key] = tf.where(shown, features[key], PADDING)
        parts = [embed(feature, features[feature.transformed_name], self._tables) for feature in self._features]
        own = self._tables.identity(self._tables.lookup(self._item, features[key]))
        rates = tf.maximum(features[self._rate], self._rate_floor)
        vectors = self._body(tf.concat(parts, axis=1), own, training=training)
        popularity = self._temperature * (tf.math.log(rates) + trends)
        return _with_coordinate(vectors, popularity)


class QueryTower(tf.keras.layers.Layer):
    """User, context and history features -> [batch, output_dim + 1]: a vector, and 1.

    `scale` is 1 in training, and then what calibration finds (see `trainer.calibration`).

    Args:
        groups: features of the schema.
        tables: shared with the item tower.
        catalog: content of the items in a history.
        config: `history_content`, `max_history` and sizes.
        random: of what training hides.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        tables: EmbeddingTables,
        catalog: CatalogTable,
        config: TrainerConfig,
        *,
        random: tf.random.Generator,
    ) -> None:
        super().__init__(name="query_tower")
        self._features = groups.of_role("query", "context")
        self._tables = tables
        content = catalog.content if config.history_content else ()
        self._max_history = config.max_history
        self._history = HistoryPooling(groups, tables, content, catalog)
        self._transformer = None
        if config.history_encoder == "transformer":
            self._transformer = HistoryTransformer(groups, tables, content, catalog, config, random=random)
        self._body = CrossAndDense(config, random=random, name="query_body")
        self.scale = self.add_weight("scale", [], initializer="ones", trainable=False)

    def call(self, features: Features, shown: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """Of the head that is served."""
        return self.of_heads(features, shown, training=training)[:, CONVERSION_HEAD]

    def of_heads(self, features: Features, shown: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """[batch, heads, output_dim + 1].

        An empty history pools to zeros; `shown`, [batch, n] bool, is what may be read of it, all by default. Of a history that is
        longer than in training the latest actions are read.
        """
        features = latest_actions(features, self._max_history)
        shown = None if shown is None else shown[:, : self._max_history]
        parts = [embed(feature, features[feature.transformed_name], self._tables) for feature in self._features]
        history = self._history(features, shown)
        own = self._tables.identity(history[:, : self._tables.item_dim])
        parts.append(history)
        if self._transformer is not None:
            parts.append(self._transformer(features, shown, training=training))
        vectors = self.scale * self._body(tf.concat(parts, axis=1), own, training=training)
        return _with_coordinate(vectors, tf.ones_like(vectors[:, 0, 0]))


def _with_coordinate(vectors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """[batch, heads, n] and [batch] -> [batch, heads, n + 1], the value last in each head's vector."""
    last = tf.broadcast_to(values[:, tf.newaxis, tf.newaxis], tf.shape(vectors[:, :, :1]))
    return tf.concat([vectors, last], axis=2)


class HistoryPooling(tf.keras.layers.Layer):
    """Weighted sum of the items in a history, and of their content, over the root of the weights' sum.

    A mean would make a long history as long a vector as a short one, though it says more. Weights are learned from event type
    and age.
    """

    def __init__(
        self, groups: FeatureGroups, tables: EmbeddingTables, content: tuple[Feature, ...], catalog: CatalogTable
    ) -> None:
        super().__init__(name="history")
        self._item = groups["history_item_id"]
        self._tables = tables
        self._content = content
        self._catalog = catalog
        self._actions = ActionWeights(groups, tables, age_table="table_age", event_initializer="glorot_uniform")

    def call(self, features: Features, shown: tf.Tensor | None = None) -> tf.Tensor:
        """Ragged [batch, n] lists -> [batch, item_dim + content width]."""
        items = dense_lists(features[self._item.transformed_name])
        actions = self._actions(features, items != PADDING if shown is None else shown)
        weights = tf.math.divide_no_nan(actions, tf.sqrt(tf.reduce_sum(actions, axis=1, keepdims=True)))
        unique, positions = tf.unique(tf.reshape(items, [-1]))
        vectors = [self._tables.lookup(self._item, unique), *self._content_vectors(unique)]
        return weighted_sums(weights, tf.reshape(positions, tf.shape(items)), tf.concat(vectors, axis=1))

    def _content_vectors(self, items: tf.Tensor) -> list[tf.Tensor]:
        return [self._tables.mean(f, self._catalog.lookup(f, items)) for f in self._content]


def embed(feature: Feature, values: tf.Tensor | tf.RaggedTensor, tables: EmbeddingTables) -> tf.Tensor:
    """One transformed feature -> float32 [batch, width]."""
    if feature.treatment == "numeric":
        return values[:, tf.newaxis]
    if feature.treatment == "vector":
        return values
    if feature.treatment in ("text", "path"):
        return tables.mean(feature, dense_lists(values))
    return tables.lookup(feature, values)
