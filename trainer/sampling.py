"""Negatives of a step, and how often each is expected: the batch's items, unengaged impressions, even draws of the catalogue."""

import numpy as np
import tensorflow as tf

from trainer.config import TrainerConfig
from trainer.preprocessing import PADDING
from trainer.replicas import num_replicas
from trainer.tables import CatalogTable


class NegativeSampler(tf.Module):
    """Mixed negatives (Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks", WWW 2020), of three sources.

    `Q_j = B f_j + H g_j + U / M`: of B rows, H unengaged impressions and U even draws of M items. An impression is drawn by its
    item's share g_j of the split `impressions`, which is what drawing the split's rows evenly comes to, and reads no file.

    Args:
        catalog: popularity f_j of the items.
        config: `impression_negatives` and `uniform_negatives`.
        rate_floor: popularity of an item without train positives.
        impression_rates: [num_items] g_j; all 0: no impressions are drawn.
        random: of the draws.
    """

    def __init__(
        self,
        catalog: CatalogTable,
        config: TrainerConfig,
        *,
        rate_floor: float,
        impression_rates: np.ndarray,
        random: tf.random.Generator,
    ) -> None:
        super().__init__(name="negatives")
        self._catalog = catalog
        self._rate_floor = rate_floor
        self._random = random
        self._num_uniform = _share(config.uniform_negatives)
        total = float(impression_rates.sum())
        self._num_impressions = _share(config.impression_negatives) if total > 0 else 0
        shares = impression_rates / total if total > 0 else impression_rates
        # 64 bits: in 32 the sums of millions of small shares would stand still.
        self._sums = tf.constant(np.cumsum(shares, dtype=np.float64)) if self._num_impressions else None
        self._impression_rates = tf.constant(shares, tf.float32) if self._num_impressions else None

    @property
    def num_draws(self) -> int:
        """Negatives beside the batch's own items, of this replica."""
        return self._num_impressions + self._num_uniform

    def draw(self) -> tf.Tensor:
        """[num_draws] int64 items, impressions first."""
        uniform = self._random.uniform([self._num_uniform], PADDING + 1, self._catalog.num_items, tf.int64)
        if self._sums is None:
            return uniform
        places = self._random.uniform([self._num_impressions], 0.0, self._sums[-1], tf.float64)
        shown = tf.searchsorted(self._sums, places, side="right", out_type=tf.int64)
        return tf.concat([tf.minimum(shown, self._catalog.num_items - 1), uniform], axis=0)

    def counts(self, items: tf.Tensor, rates: tf.Tensor, *, num_rows: tf.Tensor, training: bool) -> tf.Tensor:
        """[n] float32: how often each item is expected among a step's negatives; without training, among the batch's own items.

        Args:
            items: [n] int64.
            rates: [n] float32 shares of the train positives.
            num_rows: rows of this replica's part of the batch.
            training: whether there are draws beside the batch.
        """
        counts = tf.cast(num_rows, tf.float32) * tf.maximum(rates, self._rate_floor)
        if not training:
            return counts
        counts += self._num_uniform / (self._catalog.num_items - 1)
        if self._impression_rates is not None:
            counts += self._num_impressions * tf.gather(self._impression_rates, items)
        return num_replicas() * counts


def _share(number: int) -> int:
    """Draws of one replica, which all replicas have for negatives."""
    return -(-number // num_replicas())
