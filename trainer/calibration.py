"""Calibration: what training overstates, put right on rows that no step has seen.

Where logs are small, towers learn train rows by heart: on these the inner product is worth its logit, on others a fraction of
it, and too little is left for the repeat bonus to learn. One scale of the inner product and the bonus's constants, fitted
on held-out rows, are what temperature scaling (Guo et al., ICML 2017) is to a classifier; here they also change the ranking,
for popularity and bonus are added to the product.

The constants are of greatest likelihood **among what is retrieved**: a row counts if its item is among the best, and competes
with these alone. Most items are out of reach, and most neighbours are weak: a likelihood over the catalogue fits the few
constants to them, and ranks the head of the list worse.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SCALES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Shares of the inner product that are tried; at 0 the model is popularity and bonus."""
_PASSES = 2  # of choosing what is retrieved, and fitting to it
_STEPS = 25
_LEAST_GAIN = 1e-5  # nats a row; recall does not see it
_RIDGE = 1e-3
_RIDGE_OF_EXPONENTS = 1e-2
_EXPONENTS = [1, 3]  # of a kind's constants: those of its weight and of popularity
MAX_BONUS = 30.0
TERMS_PER_KIND = 4
"""Of neighbours: what their constants multiply (see `trainer.neighbors`)."""


class Listed(NamedTuple):
    """A block of held-out rows as the bonuses see them; an entry is an item that has a bonus in a row.

    Blocks whose arrays fit the caches are fitted in half the time of one block.

    Attributes:
        weights: [rows] >= 0.
        thresholds: [rows] logits, which an item must reach to be retrieved, its bonus included.
        normalizers: [rows] log of the sum of exp(logit) over the items that reach it without a bonus.
        targets: [rows] logits of the rows' items, without bonuses.
        rows: [entries] int, each entry's row, ascending.
        logits: [entries] without bonuses.
        terms: [constants, entries] what the constants multiply; in 32 bits a fit takes half as long.
        is_target: [entries] whether the item is the row's.
        num_kinds: kinds of neighbours, which have the last constants, `TERMS_PER_KIND` each.
    """

    weights: np.ndarray
    thresholds: np.ndarray
    normalizers: np.ndarray
    targets: np.ndarray
    rows: np.ndarray
    logits: np.ndarray
    terms: np.ndarray
    is_target: np.ndarray
    num_kinds: int = 0


def fit_retrieved(blocks: Sequence[Listed], start: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
    """The constants of greatest likelihood among what they retrieve.

    Args:
        blocks: the rows.
        start: [constants], to which they are pulled.
        guess: [constants], by which the first pass decides what is retrieved; `start` by default.
    """
    constants = start if guess is None else guess
    for _ in range(_PASSES):
        constants = fit_constants([retrieved(block, constants) for block in blocks], start, constants)
    return constants


def retrieved(block: Listed, constants: np.ndarray) -> Listed:
    """The rows whose item reaches the threshold by these constants, with the entries that do."""
    rows, num_rows = block.rows, len(block.weights)
    bonuses = _bonuses_and_odds(block, constants)[0]
    thresholds = block.thresholds[rows]
    is_raised, is_inside = block.logits + bonuses >= thresholds, block.logits >= thresholds
    shares = np.exp(block.logits - block.normalizers[rows])
    moved = np.bincount(rows, shares * (is_raised.astype(int) - is_inside), minlength=num_rows)
    own = block.targets + np.bincount(rows[block.is_target], bonuses[block.is_target], minlength=num_rows)
    is_row = own >= block.thresholds
    kept = is_raised & is_row[rows]
    return block._replace(
        weights=block.weights[is_row],
        thresholds=block.thresholds[is_row],
        normalizers=(block.normalizers + np.log(np.maximum(1.0 + moved, 1e-12)))[is_row],
        targets=block.targets[is_row],
        rows=(np.cumsum(is_row) - 1)[rows[kept]],
        logits=block.logits[kept],
        terms=np.compress(kept, block.terms, axis=1),
        is_target=block.is_target[kept],
    )


def fit_constants(blocks: Sequence[Listed], start: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
    """The constants of greatest likelihood.

    Fisher scoring (where bonuses are linear in the constants, Newton's method), shortening a step that does not gain, with a slight
    pull to `start` for what the rows do not tell. `guess`, `start` by default, is where it begins.
    """
    constants = (start if guess is None else guess).astype(np.float64)
    value, gradient, curvature = log_likelihood(blocks, constants, start)
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature, gradient)
        for share in (1.0, 0.5, 0.25, 0.1, 0.01):
            trial = log_likelihood(blocks, constants + share * step, start)
            if trial[0] > value:
                break
        else:
            break
        constants, gain = constants + share * step, trial[0] - value
        value, gradient, curvature = trial
        if gain < _LEAST_GAIN:
            break
    return constants


def log_likelihood(
    blocks: Sequence[Listed], constants: np.ndarray, start: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """What the constants add to the mean log likelihood, its gradient and minus its expected Hessian, with the pull to `start`."""
    ridge = _ridges(blocks[0], len(constants))
    pull = constants - start
    value, gradient, curvature = -float((ridge * pull) @ pull / 2), -ridge * pull, np.diag(ridge)
    total = max(sum(block.weights.sum() for block in blocks), 1e-30)
    for block in blocks:
        parts = _log_likelihood(block, block.weights / total, constants)
        value, gradient, curvature = value + parts[0], gradient + parts[1], curvature + parts[2]
    return value, gradient, curvature


def _log_likelihood(block: Listed, weights: np.ndarray, constants: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Of one block, its rows with these weights, without the pull."""
    rows, precision = block.rows, block.terms.dtype
    bonuses, slopes = mixed_bonuses(block, constants)
    shares = np.exp(block.logits - block.normalizers[rows])  # of the softmax without bonuses
    raised = shares * np.exp(bonuses)
    total = np.maximum(1.0 + np.bincount(rows, raised - shares, minlength=len(weights)), 1e-12)
    chances = raised / total.astype(precision)[rows]
    targets = np.flatnonzero(block.is_target)
    own = np.bincount(rows[targets], bonuses[targets], minlength=len(weights))
    of_entries = weights.astype(precision)[rows]
    gradient = slopes @ (of_entries * (block.is_target - chances))
    # With both roots of a row's weight in the slopes, their products over entries and over rows need no weights.
    slopes *= np.sqrt(of_entries)
    expected = slopes * chances
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]][: len(rows)])
    means = np.add.reduceat(expected, starts, axis=1) if len(rows) else expected
    return float(weights @ (own - np.log(total))), gradient, expected @ slopes.T - means @ means.T


def _ridges(block: Listed, num_constants: int) -> np.ndarray:
    """[constants] how strongly each is pulled to its start; the exponents of kinds ten times as much as the rest."""
    found = np.full(num_constants, _RIDGE)
    mixed = found[num_constants - block.num_kinds * TERMS_PER_KIND :]
    mixed.reshape(-1, TERMS_PER_KIND)[:, _EXPONENTS] = _RIDGE_OF_EXPONENTS
    return found


def mixed_bonuses(block: Listed, constants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[entries] bonuses, and [constants, entries] their slopes.

    The product of terms and constants, but for those of neighbours: of these each kind has a product z, and the bonus is
    `log(1 + sum of exp(z))` over the kinds whose first term is not 0 (see `trainer.neighbors`).
    """
    bonuses, odds = _bonuses_and_odds(block, constants)
    slopes = block.terms.copy()
    total = 1.0 + sum(odds)
    for kind, part in zip(_kinds(block, constants), odds, strict=True):
        slopes[kind] *= part / total
    return bonuses, slopes


def _bonuses_and_odds(block: Listed, constants: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """[entries] bonuses, and of each kind the [entries] exp(z)."""
    terms, kinds = block.terms, _kinds(block, constants)
    constants = constants.astype(terms.dtype)
    num_own = len(constants) - block.num_kinds * TERMS_PER_KIND
    own = np.clip(constants[:num_own] @ terms[:num_own], -MAX_BONUS, MAX_BONUS)
    odds = [terms[kind.start] * np.exp(np.minimum(constants[kind] @ terms[kind], MAX_BONUS)) for kind in kinds]
    return own + np.log(1.0 + sum(odds)), odds


def _kinds(block: Listed, constants: np.ndarray) -> list[slice]:
    first = len(constants) - block.num_kinds * TERMS_PER_KIND
    return [slice(start, start + TERMS_PER_KIND) for start in range(first, len(constants), TERMS_PER_KIND)]
