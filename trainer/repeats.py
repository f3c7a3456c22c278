"""The repeat bonus: what an item that is in the user's history scores beside the inner product.

A query vector holds a few hundred numbers: it cannot tell each of a hundred items that a user buys again and again from the
thousands that resemble them, and what it gives to repeats it takes from discovery. The bonus is exact, and leaves the
vectors to discovery.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.history import ActionWeights
from trainer.preprocessing import PADDING
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import CatalogTable
from trainer.tables import EmbeddingTables
from trainer.tables import Features
from trainer.tables import dense_lists

_START = (3.0, 0.8, 0.0, 0.25, 0.0, 0.0)  # each b_0, and b_1 to b_5: near what the shops in benchmarks/RESULTS.md learn
_SCALE = 10.0  # of the weights below, so that Adam moves them ten times faster than those of a dense layer


class Repeats(NamedTuple):
    """The distinct items of each history, and what each scores on top.

    Attributes:
        items: [batch, n] int64 indices, each item once a row; `PADDING` elsewhere.
        bonuses: [batch, n] float32; 0 where `items` is padding.
    """

    items: tf.Tensor
    bonuses: tf.Tensor


class RepeatBonus(tf.keras.layers.Layer):
    """`b_0[e_j] + b_1 log S_j + b_2 log(1 + S) - b_3 log(M f_j) + b_4 l_j - b_5 t_j`, for item j of a history.

    Users click an item again and buy it again for different reasons: engagements have constants of their own, which only
    training reads. `e_j` is the type of the user's latest action on the item: what is in the cart is bought next, what was
    bought may be done with.

    `S_j` is the sum over the item's actions of weights that are learned by event type and age, `S` that of the whole history,
    `f_j` the item's popularity and M the entries of the item table, `l_j` its loyalty (see `trainer.loyalty`), `t_j` its trend (see
    `trainer.trends`); the whole times the temperature. Popularity follows the trend, but who has bought an item follows it
    less, and of a rare item the trend is little more than when its buyers, this user among them, last bought it.

    Args:
        groups: features of the schema.
        tables: of the towers, for event types.
        catalog: popularity of the items.
        config: `temperature`.
        rate_floor: popularity of an item without train positives.
        num_events: entries of the events' vocabulary, padding included.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        tables: EmbeddingTables,
        catalog: CatalogTable,
        config: TrainerConfig,
        *,
        rate_floor: float,
        num_events: int,
    ) -> None:
        super().__init__(name="repeat_bonus")
        self._event = groups[EVENT_VOCABULARY]
        self._num_events = num_events
        self._item = groups["history_item_id"]
        self._catalog = catalog
        self._rate_floor = rate_floor
        self._temperature = config.temperature
        self.actions = ActionWeights(groups, tables, age_table="repeat_age", event_initializer="zeros", scale=_SCALE)
        first, *others = (value / _SCALE for value in _START)
        start = [[first] * num_events + others] * 2  # of conversions, of engagements
        self._weights = self.add_weight(
            "weights", [2, num_events + len(others)], initializer=tf.keras.initializers.Constant(start)
        )
        self.loyalty = self.add_weight("loyalty", [catalog.num_items], initializer="zeros", trainable=False)
        # 0 in steps, whose rows may be older than what a trend counts: `b_5` is found by calibration.
        self.trends = self.add_weight("trends", [catalog.num_items], initializer="zeros", trainable=False)

    def call(
        self, features: Features, shown: tf.Tensor | None = None, is_engagement: tf.Tensor | None = None
    ) -> Repeats:
        """Ragged [batch, n] lists -> items and bonuses.

        Args:
            features: transformed.
            shown: [batch, n] bool, what may be read of the history, all by default.
            is_engagement: [batch] bool, whether the row asks for an engagement; conversions by default.
        """
        items, terms = self.terms(features, shown)
        task = tf.zeros([tf.shape(items)[0]], tf.int64) if is_engagement is None else tf.cast(is_engagement, tf.int64)
        constants = _SCALE * tf.gather(self._weights, task)
        return Repeats(items, self._temperature * tf.einsum("bnk,bk->bn", terms, constants))

    def terms(self, features: Features, shown: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The items as in `Repeats`, and [batch, n, events + 5] what the constants multiply, 0 where there is no item."""
        items = dense_lists(features[self._item.transformed_name])
        items = items if shown is None else tf.where(shown, items, PADDING)
        actions = self.actions(features, items != PADDING)
        sums, is_first = sums_of_same(items, actions)
        of_all = tf.reduce_sum(actions, axis=1, keepdims=True)
        rates = tf.reshape(self._catalog.rates(tf.reshape(items, [-1])), tf.shape(items))
        popularity = tf.math.log(tf.maximum(rates, self._rate_floor) * self._catalog.num_items)
        own, everything = tf.math.log(tf.maximum(sums, 1e-6)), tf.math.log1p(of_all) * tf.ones_like(sums)
        is_listed = (items != PADDING) & is_first
        latest = tf.one_hot(dense_lists(features[self._event.transformed_name]), self._num_events)
        of_items = (tf.gather(self.loyalty, items), -tf.gather(self.trends, items))
        terms = tf.concat([latest, tf.stack([own, everything, -popularity, *of_items], axis=2)], axis=2)
        return tf.where(is_listed, items, PADDING), tf.where(is_listed[:, :, tf.newaxis], terms, 0.0)

    @property
    def conversion_constants(self) -> tf.Tensor:
        """[events + 5] float32 of conversions: each `b_0`, and `b_1` to `b_5`."""
        return _SCALE * self._weights[0]

    def set_conversion_constants(self, values: np.ndarray) -> None:
        """Takes those of conversions; engagements keep theirs."""
        self._weights.assign(np.stack([np.asarray(values, np.float32) / _SCALE, self._weights.numpy()[1]]))


def sums_of_same(items: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """[batch, n] items and float32 values -> [batch, n] sums over the row's same items, and whether it is the item's first place.

    By one hash table over (row, item) pairs: comparing all pairs of a history grows with its square.
    """
    batch, length = tf.unstack(tf.shape(items, tf.int64))
    largest = tf.maximum(tf.reduce_max(items), PADDING)  # of none the least integer
    keys = items + tf.range(batch)[:, tf.newaxis] * (largest + 1)
    distinct, places = tf.unique(tf.reshape(keys, [-1]))
    number = tf.size(distinct)
    sums = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), places, number)
    positions = tf.range(tf.size(places))
    first = tf.math.unsorted_segment_min(positions, places, number)
    shape = tf.stack([batch, length])
    return tf.reshape(tf.gather(sums, places), shape), tf.reshape(tf.gather(first, places) == positions, shape)


class Columns(NamedTuple):
    """Where the items of histories stand among those of a softmax's columns.

    Attributes:
        cells: [m, 2] int32, row and column.
        entries: [m] int32, places in the flattened histories: an item may be in a history twice, and be several columns.
        shape: [2] int32, rows and columns.
    """

    cells: tf.Tensor
    entries: tf.Tensor
    shape: tf.Tensor


def columns_of(histories: tf.Tensor, items: tf.Tensor) -> Columns:
    """[batch, n] int64 items, `PADDING` for none, and [columns] int64 items."""
    batch, length = tf.unstack(tf.shape(histories))
    order = tf.argsort(items)
    ascending, wanted = tf.gather(items, order), tf.reshape(histories, [-1])
    first, end = (tf.searchsorted(ascending, wanted, side=side) for side in ("left", "right"))
    # An item may be several columns: each entry is repeated for each of them.
    counts = tf.where(wanted != PADDING, end - first, 0)
    entries = tf.repeat(tf.range(batch * length), counts)
    nth = tf.range(tf.size(entries)) - tf.gather(tf.cumsum(counts, exclusive=True), entries)
    cells = tf.stack([entries // length, tf.gather(order, tf.gather(first, entries) + nth)], axis=1)
    return Columns(cells, entries, tf.stack([batch, tf.size(items)]))


def bonuses_of(repeats: Repeats, columns: Columns) -> tf.Tensor:
    """Bonus of each column's item for each row: float32 of the columns' shape, 0 for what is not in the row's history."""
    return tf.scatter_nd(columns.cells, tf.gather(tf.reshape(repeats.bonuses, [-1]), columns.entries), columns.shape)


def bonus_of_own(repeats: Repeats, items: tf.Tensor) -> tf.Tensor:
    """Bonus of row i for `items[i]`: [batch] float32."""
    is_own = (repeats.items == items[:, tf.newaxis]) & (repeats.items != PADDING)
    return tf.reduce_sum(tf.where(is_own, repeats.bonuses, 0.0), axis=1)
