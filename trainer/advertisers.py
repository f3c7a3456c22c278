"""The advertiser-level loss: which advertiser a user converts with, where labels of single items say little.

Published as an idea (see the README); the formulation is ours.
"""

import logging

import tensorflow as tf

from schemas.features import Feature
from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.losses import sampled_logits
from trainer.losses import softmax_loss
from trainer.preprocessing import PADDING
from trainer.replicas import gathered
from trainer.replicas import own_part
from trainer.tables import CatalogTable

log = logging.getLogger(__name__)
ADVERTISER = "advertiser_id"


def advertiser_feature(groups: FeatureGroups, catalog: CatalogTable, config: TrainerConfig) -> Feature | None:
    """The feature that names an item's advertiser, None where the catalogue names none; says which loss is switched off."""
    is_named = any(feature.name == ADVERTISER for feature in catalog.content)
    if is_named and bool(tf.reduce_any(catalog.column(ADVERTISER) != PADDING)):
        return groups[ADVERTISER]
    if config.advertiser_loss != "none" or not config.same_advertiser_negatives:
        log.info("No advertiser loss, and every other item is a negative: the catalogue names no advertiser")
    return None


class AdvertiserLoss(tf.keras.layers.Layer):
    """Softmax over the advertisers of a batch, `s_ia = <u_i, g_a> / tau_a + log F_a - log Q_a`.

    `g_a` is the unit mean of the vectors of the batch's items of advertiser a (`pooled`), or a learned vector (`table`). `F_a` is
    the advertiser's share of the train positives, from which the vectors need only tell the departure, as for items;
    `Q_a = 1 - (1 - F_a)^B` the chance that a batch of B rows has the advertiser at all, since each is a column once.

    Args:
        catalog: advertisers and popularity of the items.
        feature: that names the advertiser.
        config: `advertiser_loss`, `advertiser_temperature` and sizes.
        num_advertisers: entries of the advertisers' vocabulary, padding included.
    """

    def __init__(self, catalog: CatalogTable, feature: Feature, config: TrainerConfig, *, num_advertisers: int) -> None:
        super().__init__(name="advertiser_loss")
        self._catalog = catalog
        self._feature = feature
        self._temperature = config.advertiser_temperature
        self._num = num_advertisers
        self._table = None
        if config.advertiser_loss == "table":
            self._table = tf.keras.layers.Embedding(num_advertisers, config.output_dim, name="table_advertiser_vectors")

    def call(self, queries: tf.Tensor, vectors: tf.Tensor, advertisers: tf.Tensor) -> tf.Tensor:
        """[batch] losses; 0 for a row whose item has no advertiser.

        Args:
            queries: [batch, dim] without the popularity coordinate.
            vectors: [batch, dim] of the rows' own items, without it too.
            advertisers: [batch] int64 of these items.
        """
        all_advertisers = gathered(advertisers)
        columns, all_places = tf.unique(all_advertisers)
        places = own_part(all_places, tf.size(advertisers))
        pooled = tf.math.unsorted_segment_mean(gathered(vectors), all_places, tf.size(columns))
        units = tf.math.l2_normalize(self._table(columns) if self._table else pooled, axis=1)
        shares = self._shares(columns)
        num_rows = tf.cast(tf.size(all_advertisers), tf.float32)
        presence = -tf.math.expm1(num_rows * tf.math.log1p(-shares))
        offsets = self._temperature * (tf.math.log(shares) - tf.math.log(presence))
        no_advertiser = tf.where(columns == PADDING, -1e9, 0.0)
        logits = sampled_logits(
            queries,
            tf.gather(units, places),
            units,
            positive_ids=advertisers,
            negative_ids=columns,
            positive_counts=None,
            negative_counts=None,
            positive_bonuses=tf.gather(offsets, places),
            negative_bonuses=(offsets + no_advertiser)[tf.newaxis, :],
            temperature=self._temperature,
        )
        return tf.where(advertisers != PADDING, softmax_loss(logits), 0.0)

    def _shares(self, advertisers: tf.Tensor) -> tf.Tensor:
        """[n] F_a, in (0, 1)."""
        rates = self._catalog.column("positive_rate")
        sums = tf.math.unsorted_segment_sum(rates, self._catalog.column(self._feature.name), self._num)
        return tf.clip_by_value(tf.gather(sums, advertisers), 1e-9, 1.0 - 1e-6)
