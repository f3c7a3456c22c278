"""Calibration: what training overstates, put right on rows that no step has seen.

Where logs are small, towers learn train rows by heart: on these the inner product is worth its logit, on others a fraction of
it, and too little is left for the repeat bonus to learn. One scale of the inner product and the bonus's constants, fitted
on held-out rows, are what temperature scaling (Guo et al., ICML 2017) is to a classifier; here they also change the ranking,
for popularity and bonus are added to the product.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse

SCALES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Shares of the inner product that are tried; at 0 the model is popularity and bonus."""
_STEPS = 25
_LEAST_GAIN = 1e-7
_RIDGE = 1e-3
_MAX_BONUS = 30.0


class Listed(NamedTuple):
    """Held-out rows as the bonuses see them; an entry is an item that has a bonus in a row.

    Attributes:
        weights: [rows] >= 0.
        normalizers: [rows] log of the sum of exp(logit) over the catalogue, without bonuses.
        rows: [entries] int, each entry's row.
        logits: [entries] without bonuses.
        terms: [entries, constants] what the constants multiply.
        is_target: [entries] whether the item is the row's.
    """

    weights: np.ndarray
    normalizers: np.ndarray
    rows: np.ndarray
    logits: np.ndarray
    terms: np.ndarray
    is_target: np.ndarray


def fit_constants(listed: Listed, start: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
    """The constants of greatest likelihood.

    The log likelihood is concave in them: Newton's method, halving a step that does not gain, with a slight pull to `start`
    for what the rows do not tell. `guess`, `start` by default, is where it begins.
    """
    weights = listed.weights / max(listed.weights.sum(), 1e-30)
    constants = (start if guess is None else guess).astype(np.float64)
    value, gradient, curvature = log_likelihood(listed, weights, constants, start)
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature, gradient)
        for share in (1.0, 0.5, 0.25, 0.1, 0.01):
            trial = log_likelihood(listed, weights, constants + share * step, start)
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
    listed: Listed, weights: np.ndarray, constants: np.ndarray, start: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """What the constants add to the mean log likelihood, its gradient and minus its Hessian, with the pull to `start`.

    `weights` [rows] sum to 1.
    """
    rows, terms = listed.rows, listed.terms
    bonuses = np.clip(terms @ constants, -_MAX_BONUS, _MAX_BONUS)
    shares = np.exp(listed.logits - listed.normalizers[rows])  # of the softmax without bonuses
    raised = shares * np.exp(bonuses)
    total = np.maximum(1.0 + np.bincount(rows, raised - shares, minlength=len(weights)), 1e-12)
    chances = raised / total[rows]
    own = np.bincount(rows, np.where(listed.is_target, bonuses, 0.0), minlength=len(weights))
    pull = constants - start
    value = float(weights @ (own - np.log(total)) - _RIDGE * pull @ pull / 2)
    gradient = (weights[rows] * (listed.is_target - chances)) @ terms - _RIDGE * pull
    of_row = scipy.sparse.csr_matrix((chances, (rows, np.arange(len(rows)))), shape=(len(weights), len(rows)))
    means = of_row @ terms
    squares = (terms * (weights[rows] * chances)[:, np.newaxis]).T @ terms
    curvature = squares - (means * weights[:, np.newaxis]).T @ means
    return value, gradient, curvature + _RIDGE * np.eye(len(constants))
