"""The two-tower model as Keras trains it: loss, the two optimizers, and what is reported."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schemas import tables
from schemas.features import FeatureGroups
from trainer.advertisers import AdvertiserLoss
from trainer.advertisers import advertiser_feature
from trainer.bonuses import Bonuses
from trainer.config import TrainerConfig
from trainer.content_groups import ContentGroups
from trainer.history import HISTORY
from trainer.history import Hiding
from trainer.history import hide
from trainer.inputs import ITEM
from trainer.inputs import USER_WEIGHT
from trainer.losses import Logits
from trainer.losses import corrected_loss
from trainer.losses import group_loss
from trainer.losses import masked
from trainer.losses import sampled_logits
from trainer.losses import softmax_loss
from trainer.losses import weighted_mean
from trainer.neighbors import NeighborBonus
from trainer.preprocessing import PADDING
from trainer.repeats import Columns
from trainer.repeats import RepeatBonus
from trainer.repeats import Repeats
from trainer.repeats import bonus_of_own
from trainer.repeats import bonuses_of
from trainer.repeats import columns_of
from trainer.replicas import gathered
from trainer.replicas import summed
from trainer.sampling import NegativeSampler
from trainer.tables import CatalogTable
from trainer.tables import EmbeddingTables
from trainer.tables import Features
from trainer.tables import dense_lists
from trainer.towers import CONVERSION_HEAD
from trainer.towers import ItemTower
from trainer.towers import QueryTower
from trainer.weights import event_weight
from trainer.weights import row_weights

RATE = "positive_rate_xf"


class _Negatives(NamedTuple):
    """Columns of the loss: [columns] items, expected counts, and their vectors [columns, heads, dim]."""

    items: tf.Tensor
    counts: tf.Tensor
    vectors: tf.Tensor


class _Positives(NamedTuple):
    """Rows of the loss: [rows] items, expected counts, vectors [rows, heads, dim], weights, heads and bonuses; columns' bonuses."""

    items: tf.Tensor
    counts: tf.Tensor
    vectors: tf.Tensor
    weights: tf.Tensor
    heads: tf.Tensor
    bonuses: tf.Tensor
    negative_bonuses: tf.Tensor


class ConversionModel(tfrs.models.Model):
    """Query tower and item tower, trained by a sampled softmax on conversions and engagements.

    Args:
        groups: features of the schema.
        sizes: entries by vocabulary.
        catalog: features of every item.
        config: options.
        rate_floor: positive rate that an item without train positives is given.
        events: names of a history's events, in the order of their indices.
        impression_rates: [num_items] float32, each item's share of the unengaged impressions; none by default.
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
        impression_rates: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.distribute_reduction_method = "first"  # what a step returns is of the whole batch already
        self._config = config
        self.temperature = config.temperature
        self._tables = EmbeddingTables(sizes, config)
        # Its state is a variable, so that a checkpoint has it and a resumed training draws what an uninterrupted one draws.
        self._random = tf.random.Generator.from_seed(config.seed)
        self.catalog = catalog
        self._sampler = NegativeSampler(
            catalog,
            config,
            rate_floor=rate_floor,
            impression_rates=np.zeros(catalog.num_items) if impression_rates is None else impression_rates,
            random=self._random,
        )
        is_conversion = [event in tables.CONVERSIONS for event in events]
        self.conversion_events = tf.constant(
            [i for i, found in enumerate(is_conversion, PADDING + 1) if found], tf.int64
        )
        self._event_weights = tf.constant([0.0, *(event_weight(event, config) for event in events)], tf.float32)
        self._task_heads = tf.constant([CONVERSION_HEAD, config.num_heads - 1])  # of conversions, of engagements
        self._event_heads = tf.gather(self._task_heads, [0, *(int(not found) for found in is_conversion)])
        self.query_tower = QueryTower(groups, self._tables, catalog, config, random=self._random)
        self.item_tower = ItemTower(
            groups, self._tables, config, rate_floor=rate_floor, num_items=catalog.num_items, random=self._random
        )
        self.repeat_bonus = RepeatBonus(
            groups, self._tables, catalog, config, rate_floor=rate_floor, num_events=len(events) + 1
        )
        neighbor_bonus = NeighborBonus(
            groups, catalog, ContentGroups(catalog, sizes), rate_floor=rate_floor, num_neighbors=config.num_neighbors
        )
        self.bonuses = Bonuses(self.repeat_bonus, neighbor_bonus, temperature=config.temperature)
        advertiser = advertiser_feature(groups, catalog, config)
        self._advertisers = None if advertiser is None else tf.cast(catalog.column(advertiser.name), tf.int64)
        self._advertiser_loss = None
        self._item_losses = self._of_rows
        if config.jit_compile:
            self._item_losses = tf.function(self._of_rows, jit_compile=True, autograph=False)
        if advertiser and config.advertiser_loss in ("pooled", "table"):
            num_advertisers = sizes[advertiser.vocabulary]
            self._advertiser_loss = AdvertiserLoss(catalog, advertiser, config, num_advertisers=num_advertisers)

    @property
    def num_draws(self) -> int:
        """Negatives of a step beside the batch's own items."""
        return self._sampler.num_draws

    def compile(
        self,
        optimizer: tf.keras.optimizers.legacy.Optimizer,
        table_optimizer: tf.keras.optimizers.legacy.Optimizer,
    ) -> None:
        """Takes the two optimizers (see `trainer.optimizers`)."""
        super().compile(optimizer=optimizer)
        self.table_optimizer = table_optimizer

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """Scalar loss of a batch of transformed examples: of each row's own positive, and in training of a hidden action.

        Negatives are the batch's own items, and in training draws of unengaged impressions and of the catalogue.
        """
        config, items = self._config, inputs[ITEM]
        inputs = {**inputs, RATE: self.catalog.rates(items)}
        vectors = self.item_tower.of_heads(inputs, training=training)
        negatives = self._negatives(inputs, vectors, training=training)
        is_engagement = inputs["task"] != "conversion"
        repeats = self.repeat_bonus(inputs, is_engagement=is_engagement)
        columns = columns_of(dense_lists(inputs[HISTORY]), negatives.items)
        own = _Positives(
            items,
            self._sampler.counts(items, inputs[RATE], num_rows=tf.size(items), training=training),
            vectors,
            row_weights(inputs, config),
            tf.gather(self._task_heads, tf.cast(is_engagement, tf.int64)),
            bonus_of_own(repeats, items),
            bonuses_of(repeats, columns),
        )
        positives, shown = [own], None
        if training:
            hiding = hide(inputs, share=config.history_dropout, random=self._random)
            shown = hiding.shown
            if config.reconstruction_weight:
                positives.append(self._hidden_positives(inputs, hiding, columns))
        queries = self.query_tower.of_heads(inputs, shown=shown, training=training)
        joined = _Positives(*(tf.concat(parts, axis=0) for parts in zip(*positives, strict=True)))
        losses = self._item_losses(tf.tile(queries, [len(positives), 1, 1]), joined, negatives)
        loss = weighted_mean(losses, joined.weights)
        if self._advertiser_loss is None or not training:
            return loss
        advertisers = tf.gather(self._advertisers, items)
        # By the vectors that are served, and of conversions.
        served = (found[:, CONVERSION_HEAD, :-1] for found in (queries, vectors))
        weights = tf.where(is_engagement | (advertisers == PADDING), 0.0, own.weights)
        of_advertisers = weighted_mean(self._advertiser_loss(*served, advertisers), weights)
        return loss + config.advertiser_loss_weight * of_advertisers

    def _of_rows(self, queries: tf.Tensor, positives: _Positives, negatives: _Negatives) -> tf.Tensor:
        """[rows] losses of queries [rows, heads, dim].

        With 0 in the places of other heads, a row's product is that of its own head alone.
        """
        config = self._config
        own_head = tf.one_hot(positives.heads, config.num_heads)[:, :, tf.newaxis]
        logits = sampled_logits(
            _flat(queries * own_head),
            _flat(positives.vectors),
            _flat(negatives.vectors),
            positive_ids=positives.items,
            negative_ids=negatives.items,
            positive_counts=positives.counts if config.logq == "standard" else None,
            negative_counts=negatives.counts if config.logq != "none" else None,
            positive_bonuses=positives.bonuses,
            negative_bonuses=positives.negative_bonuses,
            temperature=config.temperature,
        )
        is_same = None
        if self._advertisers is not None and (config.advertiser_loss == "soft" or not config.same_advertiser_negatives):
            of_positive, of_negative = (tf.gather(self._advertisers, found.items) for found in (positives, negatives))
            is_same = (of_positive[:, tf.newaxis] == of_negative) & (of_positive != PADDING)[:, tf.newaxis]
        groups = group_loss(logits, is_same) if is_same is not None and config.advertiser_loss == "soft" else None
        if is_same is not None and not config.same_advertiser_negatives:
            logits = Logits(logits.own, masked(logits.others, is_same))
        losses = (corrected_loss if config.logq == "corrected" else softmax_loss)(logits)
        return losses if groups is None else losses + config.advertiser_loss_weight * groups

    def _negatives(self, inputs: Features, vectors: tf.Tensor, *, training: bool) -> _Negatives:
        """Without even draws, an item that is never a positive is never pushed away either, and comes to rank first."""
        items = inputs[ITEM]
        if training and self.num_draws:
            drawn = self._sampler.draw()
            items = tf.concat([items, drawn], axis=0)
            others = self.item_tower.of_heads(self.catalog.rows(drawn), training=True)
            vectors = tf.concat([vectors, others], axis=0)
        items, vectors = gathered(items), gathered(vectors)
        counts = self._sampler.counts(
            items, self.catalog.rates(items), num_rows=tf.size(inputs[ITEM]), training=training
        )
        return _Negatives(items, counts, vectors)

    def _hidden_positives(self, inputs: Features, hiding: Hiding, columns: Columns) -> _Positives:
        """Bonuses are not learned here: what is shown is no user's history."""
        rows = self.catalog.rows(hiding.items)
        by_event = tf.gather(self._event_weights, hiding.events)
        repeats = Repeats(*map(tf.stop_gradient, self.repeat_bonus(inputs, shown=hiding.shown)))
        return _Positives(
            hiding.items,
            self._sampler.counts(hiding.items, rows[RATE], num_rows=tf.size(hiding.items), training=True),
            self.item_tower.of_heads(rows, training=True),
            by_event * self._config.reconstruction_weight * inputs[USER_WEIGHT],
            tf.gather(self._event_heads, hiding.events),
            bonus_of_own(repeats, hiding.items),
            bonuses_of(repeats, columns),
        )

    @tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking takes a minute
    def train_step(self, inputs: Features) -> dict[str, tf.Tensor]:
        """One step: gradients, clipping, both optimizers."""
        loss, gradients = self.loss_and_gradients(inputs)
        variables = self.trainable_variables
        gradients, norm = tf.clip_by_global_norm(gradients, self._config.clip_norm)
        pairs = list(zip(gradients, variables, strict=True))
        is_summed = {"experimental_aggregate_gradients": False}  # before they were clipped
        self.table_optimizer.apply_gradients([pair for pair in pairs if _is_table(pair[1])], **is_summed)
        self.optimizer.apply_gradients([pair for pair in pairs if not _is_table(pair[1])], **is_summed)
        return {"loss": loss, "gradient_norm": norm}

    def loss_and_gradients(self, inputs: Features) -> tuple[tf.Tensor, list[tf.Tensor | tf.IndexedSlices | None]]:
        """Of the whole batch, from the part of it that this replica has; gradients by trainable variable."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        return summed(loss), summed(tape.gradient(loss, self.trainable_variables))


def _flat(vectors: tf.Tensor) -> tf.Tensor:
    """[n, heads, dim] -> [n, heads * dim]."""
    return tf.reshape(vectors, [-1, vectors.shape[1] * vectors.shape[2]])


def _is_table(variable: tf.Variable) -> bool:
    return "table_" in variable.name
