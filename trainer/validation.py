"""Chooses the weights by what they retrieve: recall over the whole catalogue on the latest train rows, which no step sees.

Items' popularity, a feature of the catalogue, counts these rows too: model and popularity alike know a little of them.

A falling loss says little here: where logs are small, towers learn histories by heart while discovery gets worse.
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.model import ITEM
from trainer.model import ConversionModel
from trainer.preprocessing import PADDING
from trainer.repeats import Repeats
from trainer.repeats import bonuses_of
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import Features
from trainer.tables import dense_indices

log = logging.getLogger(__name__)

K = 100
MAX_ITEMS = 50_000
"""Most items that a target is ranked among; a seeded sample of a larger catalogue."""
_BLOCK = 4096


class Validation(tf.keras.callbacks.Callback):
    """Measures every so many steps, stops when nothing improves, and restores the best weights at the end.

    The measure is the product of two lifts, recall@100 over popularity's: of all conversions, and of those on items that the
    history does not hold. So a model that learns repeats at the cost of discovery does not win. Each user counts once. The
    start, popularity with the repeat bonus, is a candidate too.

    Args:
        model: in training.
        batches: of transformed rows, conversions.
        every_steps: steps between measures.
        patience: measures without a better one before training stops.
        checkpoint: where the best weights are kept.
    """

    def __init__(
        self, model: ConversionModel, batches: Iterable[Features], *, every_steps: int, patience: int, checkpoint: str
    ) -> None:
        super().__init__()
        self._model = model
        self._batches = list(batches)
        self._every_steps = every_steps
        self._patience = patience
        self._checkpoint = checkpoint
        self._items = _candidates(self._batches, model.catalog.num_items)
        _, inverse, counts = np.unique(
            np.concatenate([batch["user_id"].numpy() for batch in self._batches]),
            return_inverse=True,
            return_counts=True,
        )
        self._weights = 1.0 / counts[inverse]
        self._steps = self._since_best = 0
        self._best = -np.inf

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Measures the start."""
        self._measure()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures when it is time."""
        self._steps += 1
        if self._steps % self._every_steps == 0 and not self._model.stop_training:
            self._measure()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Goes back to the best."""
        self._model.load_weights(self._checkpoint).expect_partial()

    def _measure(self) -> None:
        model_ranks, popularity_ranks = self._ranks()
        lifts = []
        found = {}
        for kind in ("all", "new"):
            recalls = [self._recall(ranks[kind]) for ranks in (model_ranks, popularity_ranks)]
            found[kind] = recalls
            if recalls[1] > 0:
                lifts.append(recalls[0] / recalls[1])
        score = float(np.prod(lifts)) if lifts else self._recall(model_ranks["all"])
        is_better = score > self._best
        log.info(
            "Validation at step %s: recall@%s all %.4f (popularity %.4f), new %.4f (%.4f)%s",
            self._steps, K, *found["all"], *found["new"], ", the best so far" if is_better else "",
        )  # fmt: skip
        self._since_best = 0 if is_better else self._since_best + 1
        if is_better:
            self._best = score
            self._model.save_weights(self._checkpoint)
        elif self._since_best >= self._patience:
            log.info("Training stops: the last %s validations were no better", self._patience)
            self._model.stop_training = True

    def _recall(self, ranks: np.ndarray) -> float:
        """Weighted share of ranks below K; rows without a rank do not count."""
        counts = np.isfinite(ranks)
        if not counts.any():
            return 0.0
        return float(np.average(ranks[counts] < K, weights=self._weights[counts]))

    def _ranks(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """By `all` and `new`, [rows] ranks of the model and of popularity; NaN in `new` where the history holds the target."""
        vectors = tf.concat(
            [self._embed(self._items[start : start + _BLOCK]) for start in range(0, len(self._items), _BLOCK)], axis=0
        )
        rates = self._model.catalog.rates(self._items)
        parts = [self._ranks_of(batch, vectors, rates) for batch in self._batches]
        model_all, model_new, rate_all, rate_new = (
            tf.concat(found, axis=0).numpy() for found in zip(*parts, strict=True)
        )
        return {"all": model_all, "new": model_new}, {"all": rate_all, "new": rate_new}

    @tf.function(reduce_retracing=True)
    def _embed(self, items: tf.Tensor) -> tf.Tensor:
        return self._model.item_tower(self._model.catalog.rows(items))

    @tf.function(reduce_retracing=True)
    def _ranks_of(self, batch: Features, vectors: tf.Tensor, rates: tf.Tensor) -> tuple[tf.Tensor, ...]:
        model, items = self._model, self._items
        known = _known(batch, model.conversion_events)
        scores = tf.matmul(model.query_tower(batch), vectors, transpose_b=True)
        scores += bonuses_of(model.repeat_bonus(batch), items)
        is_known = bonuses_of(Repeats(known, tf.ones_like(known, tf.float32)), items) > 0
        place = tf.searchsorted(items, batch[ITEM])
        popularity = tf.broadcast_to(rates, tf.shape(scores))
        return (*_both_ranks(scores, place, is_known), *_both_ranks(popularity, place, is_known))


def _both_ranks(scores: tf.Tensor, place: tf.Tensor, is_known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    own = tf.gather(scores, place, batch_dims=1)[:, tf.newaxis]
    before = tf.cast(scores > own, tf.float32) + tf.cast(scores == own, tf.float32) / 2
    unknown = tf.reduce_sum(tf.where(is_known, 0.0, before), axis=1) - 0.5
    is_repeat = tf.gather(is_known, place, batch_dims=1)
    return tf.reduce_sum(before, axis=1) - 0.5, tf.where(is_repeat, float("nan"), unknown)


def _known(batch: Features, conversion_events: tf.Tensor) -> tf.Tensor:
    """[batch, n] items of the history that the user converted on; `PADDING` elsewhere."""
    items = dense_indices(batch["history_item_id_xf"])
    events = dense_indices(batch[f"{EVENT_VOCABULARY}_xf"])
    return tf.where(tf.reduce_any(events[..., tf.newaxis] == conversion_events, axis=-1), items, PADDING)


def _candidates(batches: list[Features], num_items: int) -> tf.Tensor:
    """Ascending indices of the items to rank among, with every target."""
    if num_items - 1 <= MAX_ITEMS:
        return tf.range(PADDING + 1, num_items, dtype=tf.int64)
    sample = np.random.default_rng(0).choice(num_items - 1, MAX_ITEMS, replace=False) + 1
    targets = np.concatenate([batch[ITEM].numpy() for batch in batches])
    return tf.constant(np.union1d(sample, targets[targets != PADDING]), tf.int64)
