"""The two-tower model as Keras trains it: loss, the two optimizers, and what is reported."""

from typing import NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from schemas import tables
from schemas.features import FeatureGroups
from trainer.bonuses import Bonuses
from trainer.config import TrainerConfig
from trainer.history import Hiding
from trainer.history import hide
from trainer.inputs import ITEM
from trainer.inputs import USER_WEIGHT
from trainer.losses import duration_weight
from trainer.losses import sampled_softmax_loss
from trainer.neighbors import NeighborBonus
from trainer.preprocessing import PADDING
from trainer.repeats import RepeatBonus
from trainer.repeats import Repeats
from trainer.repeats import bonus_of_own
from trainer.repeats import bonuses_of
from trainer.tables import CatalogTable
from trainer.tables import EmbeddingTables
from trainer.tables import Features
from trainer.towers import ItemTower
from trainer.towers import QueryTower

RATE = "positive_rate_xf"


class _Negatives(NamedTuple):
    """Columns of the loss: [columns] items, expected counts, and their vectors [columns, dim]."""

    items: tf.Tensor
    counts: tf.Tensor
    vectors: tf.Tensor


class _Positives(NamedTuple):
    """Rows of the loss: [rows] items, expected counts, vectors [rows, dim], weights and bonuses, and the columns' bonuses."""

    items: tf.Tensor
    counts: tf.Tensor
    vectors: tf.Tensor
    weights: tf.Tensor
    bonuses: tf.Tensor
    negative_bonuses: tf.Tensor


class ConversionModel(tfrs.models.Model):
    """Query tower and item tower, trained by an in-batch softmax on conversions and engagements.

    Args:
        groups: features of the schema.
        sizes: entries by vocabulary.
        catalog: features of every item.
        config: options.
        rate_floor: positive rate that an item without train positives is given.
        events: names of a history's events, in the order of their indices.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        sizes: dict[str, int],
        catalog: CatalogTable,
        config: TrainerConfig,
        *,
        rate_floor: float,
        events: list[str],
    ) -> None:
        super().__init__()
        self._config = config
        self.temperature = config.temperature
        self._tables = EmbeddingTables(sizes, config)
        self.catalog = catalog
        self._rate_floor = rate_floor
        is_conversion = [event in tables.CONVERSIONS for event in events]
        self.conversion_events = tf.constant(
            [i for i, found in enumerate(is_conversion, PADDING + 1) if found], tf.int64
        )
        by_task = (config.conversion_weight if found else config.engagement_weight for found in is_conversion)
        self._event_weights = tf.constant([0.0, *by_task], tf.float32)
        self.query_tower = QueryTower(groups, self._tables, catalog, config)
        self.item_tower = ItemTower(groups, self._tables, config, rate_floor=rate_floor, num_items=catalog.num_items)
        self.repeat_bonus = RepeatBonus(
            groups, self._tables, catalog, config, rate_floor=rate_floor, num_events=len(events) + 1
        )
        neighbor_bonus = NeighborBonus(groups, catalog, rate_floor=rate_floor, num_neighbors=config.num_neighbors)
        self.bonuses = Bonuses(self.repeat_bonus, neighbor_bonus, temperature=config.temperature)
        # Adam keeps dense moments of a table; Adagrad touches only the rows of the batch.
        # Gradients of a mean over the batch are about 1e-4 an entry; Keras starts with 0.1, which would freeze the tables.
        self.table_optimizer = tf.keras.optimizers.legacy.Adagrad(
            config.table_learning_rate, initial_accumulator_value=1e-6
        )

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """Scalar loss of a batch of transformed examples: of each row's own positive, and in training of a hidden action.

        Negatives are the batch's own items and `uniform_negatives` even draws of the catalogue.
        """
        config, items = self._config, inputs[ITEM]
        inputs = {**inputs, RATE: self.catalog.rates(items)}
        vectors = self.item_tower(inputs, training=training)
        negatives = self._negatives(inputs, vectors, training=training)
        repeats = self.repeat_bonus(inputs, is_engagement=inputs["task"] != "conversion")
        bonuses = bonus_of_own(repeats, items), bonuses_of(repeats, negatives.items)
        counts = negatives.counts[: tf.size(items)]  # the batch's own items come first
        own = _Positives(items, counts, vectors, row_weights(inputs, config), *bonuses)
        positives, shown = [own], None
        if training:
            hiding = hide(inputs, share=config.history_dropout)
            shown = hiding.shown
            if config.reconstruction_weight:
                positives.append(self._hidden_positives(inputs, hiding, negatives.items))
        queries = self.query_tower(inputs, shown=shown, training=training)
        joined = _Positives(*(tf.concat(parts, axis=0) for parts in zip(*positives, strict=True)))
        return sampled_softmax_loss(
            tf.tile(queries, [len(positives), 1]),
            joined.vectors,
            negatives.vectors,
            positive_ids=joined.items,
            negative_ids=negatives.items,
            positive_counts=joined.counts if config.use_logq else None,
            negative_counts=negatives.counts if config.use_logq else None,
            positive_bonuses=joined.bonuses,
            negative_bonuses=joined.negative_bonuses,
            weights=joined.weights,
            temperature=config.temperature,
        )

    def _negatives(self, inputs: Features, vectors: tf.Tensor, *, training: bool) -> "_Negatives":
        """Without uniform ones, an item that is never a positive is never pushed away either, and comes to rank first."""
        num_rows = tf.size(inputs[ITEM])
        counts = self._counts(inputs, num_rows=num_rows, training=training)
        number = self._config.uniform_negatives if training else 0
        if not number:
            return _Negatives(inputs[ITEM], counts, vectors)
        items = tf.random.uniform([number], PADDING + 1, self.catalog.num_items, tf.int64)
        rows = self.catalog.rows(items)
        parts = (
            (inputs[ITEM], items),
            (counts, self._counts(rows, num_rows=num_rows, training=True)),
            (vectors, self.item_tower(rows, training=True)),
        )
        return _Negatives(*(tf.concat(part, axis=0) for part in parts))

    def _hidden_positives(self, inputs: Features, hiding: Hiding, negatives: tf.Tensor) -> "_Positives":
        """Bonuses are not learned here: what is shown is no user's history."""
        rows, num_rows = self.catalog.rows(hiding.items), tf.size(hiding.items)
        by_event = tf.gather(self._event_weights, hiding.events)
        weights = by_event * self._config.reconstruction_weight * inputs[USER_WEIGHT]
        repeats = Repeats(*map(tf.stop_gradient, self.repeat_bonus(inputs, shown=hiding.shown)))
        bonuses = bonus_of_own(repeats, hiding.items), bonuses_of(repeats, negatives)
        return _Positives(
            hiding.items,
            self._counts(rows, num_rows=num_rows, training=True),
            self.item_tower(rows, training=True),
            weights,
            *bonuses,
        )

    def _counts(self, rows: Features, *, num_rows: tf.Tensor, training: bool) -> tf.Tensor:
        """[n] how often each row's item is expected among the negatives: `B * positive_rate_j + U / M`, B rows a batch."""
        uniform = self._config.uniform_negatives / (self.catalog.num_items - 1) if training else 0.0
        return tf.cast(num_rows, tf.float32) * tf.maximum(rows[RATE], self._rate_floor) + uniform

    def train_step(self, inputs: Features) -> dict[str, tf.Tensor]:
        """One step: gradients, clipping, both optimizers."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        variables = self.trainable_variables
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, variables), self._config.clip_norm)
        pairs = list(zip(gradients, variables, strict=True))
        self.table_optimizer.apply_gradients([pair for pair in pairs if _is_table(pair[1])])
        self.optimizer.apply_gradients([pair for pair in pairs if not _is_table(pair[1])])
        return {"loss": loss, "gradient_norm": norm}


def row_weights(inputs: Features, config: TrainerConfig) -> tf.Tensor:
    """[batch] float32: by user, by task, and for engagements by click duration."""
    engagement = duration_weight(inputs["click_duration_s"], t_max_s=config.t_max_s) * config.engagement_weight
    return tf.where(inputs["task"] == "conversion", config.conversion_weight, engagement) * inputs[USER_WEIGHT]


def _is_table(variable: tf.Variable) -> bool:
    return "table_" in variable.name
