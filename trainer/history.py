"""Histories: how much each action counts, and what training hides, so that the towers learn to find it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from schemas.features import FeatureGroups
from trainer.preprocessing import PADDING
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import EmbeddingTables
from trainer.tables import Features
from trainer.tables import dense_lists

HISTORY = "history_item_id_xf"
_SECONDS_PER_DAY = 86_400.0
NUM_AGE_BUCKETS = 64  # by factors of the root of two, from a second to a century
_MAX_SCORE = 8.0


class ActionWeights(tf.keras.layers.Layer):
    """`exp(scale * (score of the event type + score of the age))` of each action of a history, 0 where it is hidden.

    A session's pace is minutes, a household's is weeks: ages are told apart by their ratio.

    Args:
        groups: features of the schema.
        tables: for event types.
        age_table: name of the ages' scores; `table_` in it gives them the tables' optimizer.
        event_initializer: of what makes an event's vector its score.
        scale: of the scores, for a faster optimizer's pace.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        tables: EmbeddingTables,
        *,
        age_table: str,
        event_initializer: str,
        scale: float = 1.0,
    ) -> None:
        super().__init__(name="action_weights")
        self._event = groups[EVENT_VOCABULARY]
        self._age = groups["history_age_days"]
        self._tables = tables
        self._scale = scale
        self._event_score = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer=event_initializer)
        self._age_score = tf.keras.layers.Embedding(NUM_AGE_BUCKETS, 1, embeddings_initializer="zeros", name=age_table)

    def call(self, features: Features, shown: tf.Tensor) -> tf.Tensor:
        """Ragged [batch, n] lists and [batch, n] bool -> [batch, n] float32, >= 0."""
        # Of each event once, not of each action: a vector for every action would be much of what a step reads and writes.
        of_events = self._event_score(self._tables.whole(self._event))
        events = tf.gather(of_events, dense_lists(features[self._event.transformed_name]))
        ages = self._age_score(age_buckets(features[self._age.transformed_name]))
        scores = self._scale * tf.squeeze(events + ages, axis=-1)
        return tf.where(shown, tf.exp(tf.clip_by_value(scores, -_MAX_SCORE, _MAX_SCORE)), 0.0)


def age_buckets(ages: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    """[batch, n] log(1 + days) -> [batch, n] int64 below `NUM_AGE_BUCKETS`."""
    seconds = _SECONDS_PER_DAY * tf.math.expm1(dense_lists(ages))
    doublings = tf.math.log1p(seconds) / math.log(2.0)
    return tf.cast(tf.minimum(2.0 * doublings, NUM_AGE_BUCKETS - 1), tf.int64)


@tf.custom_gradient
def weighted_sums(weights: tf.Tensor, places: tf.Tensor, vectors: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """[batch, n] weights, [batch, n] int32 rows of `vectors`, [m, dim] -> [batch, dim] `sum_n w_bn v_(p_bn)`.

    As a sparse product: a vector for each action, [batch, n, dim], would be most of what a step reads and writes, there and back.
    Where a weight is 0, it has no gradient either: hidden and missing actions cost nothing.
    """
    cells = tf.where(weights > 0.0)
    rows = cells[:, 0]
    columns = tf.cast(tf.gather_nd(places, cells), tf.int64)
    matrix = tf.SparseTensor(
        tf.stack([rows, columns], axis=1),
        tf.gather_nd(weights, cells),
        tf.stack([tf.shape(weights, tf.int64)[0], tf.shape(vectors, tf.int64)[0]]),
    )

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor]:
        products = tf.reduce_sum(tf.gather(vectors, columns) * tf.gather(upstream, rows), axis=1)
        of_weights = tf.scatter_nd(cells, products, tf.shape(weights, tf.int64))
        return of_weights, None, tf.sparse.sparse_dense_matmul(matrix, upstream, adjoint_a=True)

    return tf.sparse.sparse_dense_matmul(matrix, vectors), gradient


def latest_actions(features: Features, most: int) -> Features:
    """The features with histories, which begin with the newest action, cut to so many."""

    def cut(name: str, values: tf.Tensor | tf.RaggedTensor) -> tf.Tensor | tf.RaggedTensor:
        is_history = name.startswith("history_") and values.shape.rank == 2
        return values[:, :most] if is_history else values

    return {name: cut(name, values) for name, values in features.items()}


class Hiding(NamedTuple):
    """Of each row: what is shown of its history, and one of the actions that are not.

    Attributes:
        shown: [batch, n] bool.
        items: [batch] int64 item of the hidden action; `PADDING` where nothing is hidden.
        events: [batch] int64 event of the hidden action; `PADDING` where nothing is hidden.
    """

    shown: tf.Tensor
    items: tf.Tensor
    events: tf.Tensor


def hide(features: Features, *, share: float, random: tf.random.Generator) -> Hiding:
    """Hides each action with chance `share`, and chooses one of a row's hidden actions evenly.

    Args:
        features: transformed, `history_item_id_xf` and `history_event_xf` ragged [batch, n].
        share: in [0, 1).
        random: of the draws.
    """
    items = dense_lists(features[HISTORY])
    events = dense_lists(features["history_event_xf"])
    is_known = items != PADDING
    draw = random.uniform(tf.shape(items))
    is_hidden = is_known & (draw < share)
    # Among the hidden the draws are even on [0, share): the greatest is a fair choice. The first column is no action.
    choice = tf.argmax(_behind_none(tf.where(is_hidden, draw + 1.0, 0.0)), axis=1)
    chosen = [tf.gather(_behind_none(lists), choice, batch_dims=1) for lists in (items, events)]
    return Hiding(is_known & ~is_hidden, *chosen)


def _behind_none(lists: tf.Tensor) -> tf.Tensor:
    """[batch, n] -> [batch, n + 1], the first column 0. Not by `tf.pad`, which no GPU has for integers."""
    return tf.concat([tf.zeros([tf.shape(lists)[0], 1], lists.dtype), lists], axis=1)
