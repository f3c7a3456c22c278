"""The neighbour bonus: what an item that goes with the user's history scores beside the inner product."""

import math

import numpy as np
import tensorflow as tf

from schemas.features import FeatureGroups
from trainer.associations import Neighbors
from trainer.calibration import TERMS_PER_KIND
from trainer.content_groups import ContentGroups
from trainer.preprocessing import PADDING
from trainer.tables import CatalogTable
from trainer.tables import Features
from trainer.tables import dense_lists

KINDS = ("transitions", "cooccurrences", "content")
NUM_LISTED = {"transitions": 200, "cooccurrences": 200, "content": 500}
"""Strongest neighbours of a history that are listed, by kind: a group has many items, and none stands out."""
LISTED_SHARE = 0.05
"""Of the items, listed by a kind at most: items that are new since training have no bonus, and rank behind those that have much."""
_NONE = -200.0  # its exponential is 0 in 32 bits
"""Log odds of what is not there."""


class NeighborBonus(tf.keras.layers.Layer):
    """`log(1 + sum over kinds of e^z)`, `z = c_0 + c_1 log s_j + c_2 log(1 + S) - c_3 log(M f_j)`, of neighbour j of a history.

    Of a mixture of popularity with what goes with the history, z is the log odds: with `c_1 = c_3 = 1` an item that has much of the
    latter is ranked by it, and not by popularity too, and one that has little by popularity. (A bonus linear in the logs fits
    the many weak neighbours, and ranks the few strong ones badly.)

    `s_j` is the sum of j's weights as a neighbour of the history's items: of `transitions` for each action, times `1 / (1 + newer
    actions)`, of `cooccurrences` for each item once (see `trainer.associations`), of `content` for each item once its share of each
    group that both belong to (see `trainer.content_groups`): the chance that it is the next one if the group is that of one of the
    history's items. `S` is the sum of these factors alone. A kind by which j is no neighbour adds nothing. `f_j` is the item's
    popularity and M the entries of the item table. Never below 0: so an index need not look for what an association lowers.

    The tables are counted, not learned by steps; there is no bonus until calibration fits the constants (see
    `trainer.calibration`).

    Args:
        groups: features of the schema.
        catalog: popularity of the items.
        content: what the items have in common.
        rate_floor: popularity of an item without train positives.
        num_neighbors: of each item or group and kind; 0: there is no bonus.
    """

    num_constants = TERMS_PER_KIND * len(KINDS)

    def __init__(
        self,
        groups: FeatureGroups,
        catalog: CatalogTable,
        content: ContentGroups,
        *,
        rate_floor: float,
        num_neighbors: int,
    ) -> None:
        super().__init__(name="neighbor_bonus")
        self._item = groups["history_item_id"]
        self._age = groups["history_age_days"]
        self._catalog = catalog
        self._rate_floor = rate_floor
        self.content = content
        most = max(1, round(LISTED_SHARE * catalog.num_items))
        self._num_listed = {kind: min(NUM_LISTED[kind], most) for kind in KINDS}
        self.width = min(sum(self._num_listed.values()), catalog.num_items - 1) if num_neighbors else 0
        sizes = {kind: content.number if kind == "content" else catalog.num_items for kind in KINDS}
        self._items, self._weights = (
            {
                kind: self.add_weight(f"{kind}_{name}", [size, num_neighbors], dtype, "zeros", trainable=False)
                for kind, size in sizes.items()
            }
            for name, dtype in (("items", tf.int32), ("weights", tf.float32))
        )
        none = tf.keras.initializers.Constant(self.no_constants)
        self.constants = self.add_weight("constants", [self.num_constants], initializer=none, trainable=False)

    @property
    def no_constants(self) -> np.ndarray:
        """[constants] float32 of no bonus."""
        return np.array([_NONE, 0.0, 0.0, 0.0] * len(KINDS), np.float32)

    @property
    def first_constants(self) -> np.ndarray:
        """[constants] float32 to begin a fit with: each kind a share of about 0.1 of what users turn to, spread by `s_j`."""
        return np.array([math.log(0.1 * self._catalog.num_items), 1.0, -1.0, 1.0] * len(KINDS), np.float32)

    def fill(self, neighbors: dict[str, Neighbors]) -> None:
        """Takes the tables, by kind."""
        for kind in KINDS:
            self._items[kind].assign(neighbors[kind].items)
            self._weights[kind].assign(neighbors[kind].weights)

    def terms(self, features: Features) -> tuple[tf.Tensor, tf.Tensor]:
        """Ragged [batch, n] lists -> the neighbours and what the constants multiply.

        Returns:
            [batch, m] int64, none of the history, each once a row, `PADDING` elsewhere; and [batch, m, constants], kind by kind 1,
            `log s_j`, `log(1 + S)` and `-log(M f_j)`, or 0 where the item is no neighbour by the kind.
        """
        history = dense_lists(features[self._item.transformed_name])
        ages = dense_lists(features[self._age.transformed_name])
        if not self.width:
            return history[:, :0], tf.zeros([tf.shape(history)[0], 0, self.num_constants])
        items, sums, totals = tf.map_fn(
            lambda row: self._near(*row),
            (history, ages),
            fn_output_signature=(
                tf.TensorSpec([self.width], tf.int64),
                tf.TensorSpec([self.width, len(KINDS)], tf.float32),
                tf.TensorSpec([len(KINDS)], tf.float32),
            ),
        )
        is_near = sums > 0
        rates = tf.reshape(self._catalog.rates(tf.reshape(items, [-1])), tf.shape(items))
        popularity = tf.math.log(tf.maximum(rates, self._rate_floor) * self._catalog.num_items)
        parts = (
            tf.ones_like(sums),
            tf.math.log(tf.where(is_near, sums, 1.0)),
            tf.math.log1p(totals)[:, tf.newaxis, :] * tf.ones_like(sums),
            -popularity[:, :, tf.newaxis] * tf.ones_like(sums),
        )
        terms = tf.where(is_near[..., tf.newaxis], tf.stack(parts, axis=3), 0.0)
        return items, tf.reshape(terms, [tf.shape(items)[0], self.width, self.num_constants])

    def _near(self, history: tf.Tensor, ages: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """One history [n] -> its strongest neighbours [m], their `s` [m, kinds] and the `S` [kinds]."""
        is_known = history != PADDING
        known_ages = tf.where(is_known, ages, tf.float32.max)
        newer = tf.cast(tf.searchsorted(tf.sort(known_ages), known_ages), tf.float32)
        own, places = tf.unique(tf.cast(history, tf.int32))
        actions = _sums(tf.where(is_known, 1.0 / (1.0 + newer), 0.0), places, tf.size(own))
        once = tf.cast(own != PADDING, tf.float32)
        totals = tf.stack([tf.reduce_sum(actions), tf.reduce_sum(once), tf.reduce_sum(once)])
        factors = {"transitions": (own, actions), "cooccurrences": (own, once), "content": self._grouped(own, once)}
        listed = {
            kind: tf.reshape(tf.gather(self._items[kind], sources), [-1]) for kind, (sources, _) in factors.items()
        }
        # The history comes first, so that its items have the first places among the distinct ones.
        distinct, places = tf.unique(tf.concat([[PADDING], own, *listed.values()], axis=0))
        parts = tf.split(places, [1 + tf.size(own), *(tf.size(items) for items in listed.values())])
        sums = tf.stack(
            [
                _sums(self._weights_of(kind, *factors[kind]), part, tf.size(distinct))
                for kind, part in zip(factors, parts[1:], strict=True)
            ],
            axis=1,
        )
        num_own = 1 + tf.reduce_max(parts[0])
        distinct, sums = distinct[num_own:], sums[num_own:]
        is_listed = tf.zeros([tf.size(distinct)], tf.bool)
        for place, kind in enumerate(KINDS):
            best = tf.math.top_k(sums[:, place], tf.minimum(self._num_listed[kind], tf.size(distinct))).indices
            is_best = tf.scatter_nd(best[:, tf.newaxis], tf.ones_like(best), tf.shape(distinct)) > 0
            is_listed |= is_best & (sums[:, place] > 0)
        items, sums = tf.boolean_mask(distinct, is_listed), tf.boolean_mask(sums, is_listed)
        rest = self.width - tf.size(items)
        return tf.pad(tf.cast(items, tf.int64), [[0, rest]]), tf.pad(sums, [[0, rest], [0, 0]]), totals

    def _weights_of(self, kind: str, sources: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """[m] items or groups and float32 how often each counts -> [m * neighbours] weights of their neighbours."""
        return tf.reshape(tf.gather(self._weights[kind], sources) * counts[:, tf.newaxis], [-1])

    def _grouped(self, history: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[n] items and how often each counts -> [m] distinct groups of theirs, and how often each of these does."""
        groups = self.content.of(history)
        distinct, places = tf.unique(tf.reshape(groups, [-1]))
        repeated = tf.reshape(counts[:, tf.newaxis] * tf.ones_like(groups, tf.float32), [-1])
        return distinct, _sums(repeated, places, tf.size(distinct))


def _sums(values: tf.Tensor, places: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """[n] float32 and int32 places -> [number] sums: a fifth of the time of `unsorted_segment_sum`, which walks rows."""
    return tf.raw_ops.Bincount(arr=places, size=number, weights=values)
