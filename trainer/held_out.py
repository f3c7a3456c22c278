"""Held-out rows under a model: their recall over the whole catalogue, and what calibrates it to them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.calibration import SCALES
from trainer.calibration import Listed
from trainer.calibration import fit_retrieved
from trainer.history import HISTORY
from trainer.inputs import ITEM
from trainer.model import ConversionModel
from trainer.neighbors import KINDS
from trainer.preprocessing import PADDING
from trainer.tables import EVENT_VOCABULARY
from trainer.tables import Features
from trainer.tables import dense_lists

_FULL_CUTOFFS = 1_000  # items: in a smaller catalogue the cutoffs shrink with it
MAX_ITEMS = 50_000
"""Most items that a target is ranked among; a seeded sample of a larger catalogue."""
_BLOCK = 4096
_REACH = 2  # times as many items as the largest cutoff are what calibration takes for retrieved
_FIRST_SCALE = 0.2  # about what is chosen
_TOLERANCE = 0.03  # a recall of 0.1 over 2,000 users has a relative standard error of sqrt(0.9 / 0.1 / 2,000), 0.07


class Measure(NamedTuple):
    """What a model retrieves, calibrated.

    Attributes:
        score: product of the lifts, recall over popularity's, of all conversions and of new ones.
        recalls: of all, of new.
        popularity: its recalls.
        scale: of the inner product.
        constants: [constants] float32 of the bonuses.
    """

    score: float
    recalls: tuple[float, float]
    popularity: tuple[float, float]
    scale: float
    constants: np.ndarray


class _Rows(NamedTuple):
    """A batch of b rows, with the n items that have a bonus.

    Attributes:
        products: [b, m] inner products with the candidates.
        targets: [b] places of the targets among the candidates.
        places: [b, n] of these items among the candidates.
        terms: [b, n, constants] of their bonus.
        is_there: [b, n] whether they are candidates.
        is_known: [b, n] whether the user converted on them.
    """

    products: tf.Tensor
    targets: tf.Tensor
    places: tf.Tensor
    terms: tf.Tensor
    is_there: tf.Tensor
    is_known: tf.Tensor


class _Listed(NamedTuple):
    """Of a batch, the entries for calibration (see `trainer.calibration.Listed`), which no scale changes.

    Attributes:
        mask: [b, n] whether there is one.
        rows: [entries] of the batch.
        terms: [constants, entries].
        is_target: [entries].
    """

    mask: np.ndarray
    rows: np.ndarray
    terms: np.ndarray
    is_target: np.ndarray


class HeldOut:
    """Rows that no step sees, ranked by the model as it is.

    A measure calibrates the model (see `trainer.calibration`): of the scales of the inner product, the least that retrieves
    within 3% of the best, with its constants of the bonuses (in the spirit of the rule of one standard error, Breiman et al.,
    1984): what is served later is further from the train rows than these rows are.

    Recall is the mean over a few cutoffs: one tells less, and tells it by chance. Each user counts once.

    Args:
        model: whose neighbours are those of a training.
        batches: of transformed rows, conversions.
        cutoffs: of recall; in a catalogue below 1,000 items they shrink with it.
        trends: [num_items] float32, what the items' popularity will have beside it once trained (see `trainer.trends`); none by
            default.
    """

    def __init__(
        self,
        model: ConversionModel,
        batches: Iterable[Features],
        *,
        cutoffs: tuple[int, ...],
        trends: np.ndarray | None = None,
    ) -> None:
        self._model = model
        self._batches = list(batches)
        self._neighbors: list[tuple[tf.Tensor, tf.Tensor]] = []
        self._temperature = model.temperature
        self._items = _candidates(self._batches, model.catalog.num_items)
        self._all_trends = np.zeros(model.catalog.num_items, np.float32) if trends is None else trends
        self._trends = tf.gather(tf.constant(self._all_trends), self._items)
        _, inverse, counts = np.unique(
            np.concatenate([batch["user_id"].numpy() for batch in self._batches]),
            return_inverse=True,
            return_counts=True,
        )
        self._weights = 1.0 / counts[inverse]
        self._cutoffs = [cutoff * min(1.0, len(self._items) / _FULL_CUTOFFS) for cutoff in cutoffs]

    def measure(self) -> Measure:
        """Calibrates to the model's present weights, and leaves these as they are."""
        vectors, popularity = self._catalog()
        rows = self._read_all(vectors)
        base = self._recalls(rows, popularity, 0.0, self._model.bonuses.no_constants)
        scale, constants, found = self._calibrate(rows, popularity + self._trends, base)
        return Measure(_score(found, base), found, base, scale, constants)

    def _read_all(self, vectors: tf.Tensor) -> list[_Rows]:
        """By batch, with the trends in the terms of repeats, which steps do not see."""
        self._neighbors = self._neighbors or [self._near(batch) for batch in self._batches]  # which no step changes
        trends = self._model.repeat_bonus.trends
        trends.assign(self._all_trends)
        rows = [self._read(*parts, vectors) for parts in zip(self._batches, self._neighbors, strict=True)]
        trends.assign(tf.zeros_like(trends))
        return rows

    def _calibrate(
        self, rows: list[_Rows], popularity: tf.Tensor, base: tuple[float, float]
    ) -> tuple[float, np.ndarray, tuple[float, float]]:
        """The scale, its constants and the recalls; constants hardly depend on the scale: those of one serve to choose it."""
        listed = [self._listed(batch) for batch in rows]
        constants = self._fit(listed, rows, popularity, _FIRST_SCALE, self._model.bonuses.first_constants)
        scores = [_score(self._recalls(rows, popularity, scale, constants), base) for scale in SCALES]
        scale = next(
            scale for scale, score in zip(SCALES, scores, strict=True) if score >= (1 - _TOLERANCE) * max(scores)
        )
        constants = self._fit(listed, rows, popularity, scale, constants)
        return scale, constants, self._recalls(rows, popularity, scale, constants)

    def _catalog(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Of the candidates: vectors [m, dim], and popularity [m] as a logit."""
        blocks = [self._embed(self._items[start : start + _BLOCK]) for start in range(0, len(self._items), _BLOCK)]
        joined = tf.concat(blocks, axis=0)
        return joined[:, :-1] / self._temperature, joined[:, -1] / self._temperature

    def _listed(self, rows: _Rows) -> _Listed:
        mask = rows.is_there.numpy()
        return _Listed(
            mask,
            np.repeat(np.arange(len(mask)), mask.sum(axis=1)),
            np.ascontiguousarray(rows.terms.numpy()[mask].T),
            (rows.places == rows.targets[:, tf.newaxis]).numpy()[mask],
        )

    def _fit(
        self, listed: list[_Listed], rows: list[_Rows], popularity: tf.Tensor, scale: float, guess: np.ndarray
    ) -> np.ndarray:
        blocks, first = [], 0
        for batch, entries in zip(rows, listed, strict=True):
            parts = self._normalize(batch, popularity, tf.constant(scale))
            thresholds, normalizers, targets, logits = (part.numpy() for part in parts)
            block = Listed(
                weights=self._weights[first : first + len(targets)],
                thresholds=thresholds,
                normalizers=normalizers,
                targets=targets,
                rows=entries.rows,
                logits=logits[entries.mask],
                terms=entries.terms,
                is_target=entries.is_target,
                num_kinds=len(KINDS),
            )
            blocks.append(block)
            first += len(targets)
        return fit_retrieved(blocks, self._model.bonuses.first_constants, guess)

    def _recalls(
        self, rows: list[_Rows], popularity: tf.Tensor, scale: float, constants: np.ndarray
    ) -> tuple[float, float]:
        """Of all, and of the new."""
        parts = (tf.constant(scale, tf.float32), tf.constant(constants, tf.float32))
        ranks = [self._ranks(batch, popularity, *parts) for batch in rows]
        of_all, of_new = (np.concatenate([found[place].numpy() for found in ranks]) for place in (0, 1))
        return self._recall(of_all), self._recall(of_new)

    def _recall(self, ranks: np.ndarray) -> float:
        """Weighted share of ranks below the cutoffs; rows without a rank do not count."""
        counts = np.isfinite(ranks)
        if not counts.any():
            return 0.0
        found = np.mean([ranks[counts] < cutoff for cutoff in self._cutoffs], axis=0)
        return float(np.average(found, weights=self._weights[counts]))

    @tf.function(reduce_retracing=True, autograph=False)
    def _embed(self, items: tf.Tensor) -> tf.Tensor:
        return self._model.item_tower(self._model.catalog.rows(items))

    @tf.function(reduce_retracing=True, autograph=False)
    def _near(self, batch: Features) -> tuple[tf.Tensor, tf.Tensor]:
        return self._model.bonuses.neighbor.terms(batch)

    @tf.function(reduce_retracing=True, autograph=False)
    def _read(self, batch: Features, neighbors: tuple[tf.Tensor, tf.Tensor], vectors: tf.Tensor) -> _Rows:
        items, terms = self._model.bonuses.join(self._model.repeat_bonus.terms(batch), neighbors)
        places = tf.minimum(tf.searchsorted(self._items, tf.reshape(items, [-1])), tf.size(self._items) - 1)
        places = tf.reshape(places, tf.shape(items))
        known = _known(batch, self._model.conversion_events)
        return _Rows(
            tf.matmul(self._model.query_tower(batch)[:, :-1], vectors, transpose_b=True),
            tf.searchsorted(self._items, batch[ITEM]),
            places,
            terms,
            (items != PADDING) & (tf.gather(self._items, places) == items),
            tf.reduce_any(items[:, :, tf.newaxis] == known[:, tf.newaxis, :], axis=2),
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _normalize(self, rows: _Rows, popularity: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Of logits without bonuses.

        Returns:
            [b] what an item must reach to be retrieved, [b] log of the sum of exp(logit) of those that do, [b] the targets', and
            [b, n] of what is listed.
        """
        logits = scale * rows.products + popularity
        number = min(len(self._items), max(1, round(_REACH * max(self._cutoffs))))
        thresholds = tf.reduce_min(tf.math.top_k(logits, number, sorted=False).values, axis=1)
        reached = tf.where(logits >= thresholds[:, tf.newaxis], logits, logits.dtype.min)
        return (
            thresholds,
            tf.reduce_logsumexp(reached, axis=1),
            tf.gather(logits, rows.targets, batch_dims=1),
            tf.gather(logits, rows.places, batch_dims=1),
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _ranks(
        self, rows: _Rows, popularity: tf.Tensor, scale: tf.Tensor, constants: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """[b] among all, and [b] without what was converted on, NaN for a target that was; a tie counts half."""
        logits = scale * rows.products + popularity
        bonuses = self._model.bonuses.values(rows.terms, constants)
        bonuses = tf.where(rows.is_there, bonuses, 0.0)
        is_target = rows.is_there & (rows.places == rows.targets[:, tf.newaxis])
        target = tf.gather(logits, rows.targets, batch_dims=1) + tf.reduce_sum(
            tf.where(is_target, bonuses, 0.0), axis=1
        )
        plain = tf.gather(logits, rows.places, batch_dims=1)
        history = tf.cast(rows.is_there, tf.float32)
        raised, lowered = history * _before(plain + bonuses, target), history * _before(plain, target)
        of_all = tf.reduce_sum(_before(logits, target), axis=1) + tf.reduce_sum(raised - lowered, axis=1)
        of_new = of_all - tf.reduce_sum(tf.where(rows.is_known, raised, 0.0), axis=1)
        is_repeat = tf.reduce_any(is_target & rows.is_known, axis=1)
        return of_all - 0.5, tf.where(is_repeat, float("nan"), of_new - 0.5)


def _before(scores: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    return (1.0 + tf.sign(scores - target[:, tf.newaxis])) / 2.0


def _score(found: tuple[float, float], base: tuple[float, float]) -> float:
    """Product of the lifts; a popularity that finds nothing has none."""
    lifts = [own / other for own, other in zip(found, base, strict=True) if other > 0]
    return float(np.prod(lifts)) if lifts else found[0]


def _known(batch: Features, conversion_events: tf.Tensor) -> tf.Tensor:
    """[batch, n] items of the history that the user converted on; `PADDING` elsewhere."""
    items = dense_lists(batch[HISTORY])
    events = dense_lists(batch[f"{EVENT_VOCABULARY}_xf"])
    return tf.where(tf.reduce_any(events[..., tf.newaxis] == conversion_events, axis=-1), items, PADDING)


def _candidates(batches: list[Features], num_items: int) -> tf.Tensor:
    """Ascending indices of the items to rank among, with every target."""
    if num_items - 1 <= MAX_ITEMS:
        return tf.range(PADDING + 1, num_items, dtype=tf.int64)
    sample = np.random.default_rng(0).choice(num_items - 1, MAX_ITEMS, replace=False) + 1
    targets = np.concatenate([batch[ITEM].numpy() for batch in batches])
    return tf.constant(np.union1d(sample, targets[targets != PADDING]), tf.int64)
