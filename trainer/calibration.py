"""Calibration: what training overstates, put right on rows that no step has seen.

Where logs are small, towers learn train rows by heart: on these the inner product is worth its logit, on others a fraction of
it, and too little is left for the repeat bonus to learn. One scale of the inner product and the bonus's constants, fitted
on held-out rows, are what temperature scaling (Guo et al., ICML 2017) is to a classifier; here they also change the ranking,
for popularity and bonus are added to the product.
"""

from typing import NamedTuple

import numpy as np

SCALES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Shares of the inner product that are tried; at 0 the model is popularity and bonus."""
_STEPS = 25
_RIDGE = 1e-3
_MAX_BONUS = 30.0


class Histories(NamedTuple):
    """Held-out rows as the bonus sees them.

    Attributes:
        normalizers: [rows] log of the sum of exp(logit) over the catalogue, without bonuses.
        logits: [rows, n] of the history's distinct items, without bonuses; -inf where there is none.
        terms: [rows, n, constants] what the bonus's constants multiply.
        is_target: [rows, n] whether the item is the row's.
        weights: [rows] >= 0.
    """

    normalizers: np.ndarray
    logits: np.ndarray
    terms: np.ndarray
    is_target: np.ndarray
    weights: np.ndarray


def fit_constants(rows: Histories, start: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
    """The constants of greatest likelihood.

    The log likelihood is concave in them: Newton's method, halving a step that does not gain, with a slight pull to `start`
    for what the rows do not tell. `guess`, `start` by default, is where it begins.
    """
    weights = rows.weights / max(rows.weights.sum(), 1e-30)
    constants = (start if guess is None else guess).astype(np.float64)
    value, gradient, curvature = log_likelihood(rows, weights, constants, start)
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature, gradient)
        for share in (1.0, 0.5, 0.25, 0.1, 0.01):
            trial = log_likelihood(rows, weights, constants + share * step, start)
            if trial[0] > value:
                break
        else:
            break
        constants = constants + share * step
        value, gradient, curvature = trial
    return constants


def log_likelihood(
    rows: Histories, weights: np.ndarray, constants: np.ndarray, start: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """What the constants add to the mean log likelihood, its gradient and minus its Hessian, with the pull to `start`.

    `weights` [rows] sum to 1.
    """
    bonuses = np.clip(rows.terms @ constants, -_MAX_BONUS, _MAX_BONUS)
    shares = np.exp(rows.logits - rows.normalizers[:, np.newaxis])  # of the softmax without bonuses
    raised = shares * np.exp(bonuses)
    total = np.maximum(1.0 + (raised - shares).sum(axis=1), 1e-12)
    chances = raised / total[:, np.newaxis]
    own = np.where(rows.is_target, bonuses, 0.0).sum(axis=1)
    means = np.einsum("rn,rnk->rk", chances, rows.terms)
    targets = np.einsum("rn,rnk->rk", rows.is_target.astype(float), rows.terms)
    pull = constants - start
    value = float(weights @ (own - np.log(total)) - _RIDGE * pull @ pull / 2)
    gradient = weights @ (targets - means) - _RIDGE * pull
    weighted = rows.terms * (weights[:, np.newaxis] * chances)[:, :, np.newaxis]
    squares = np.tensordot(weighted, rows.terms, axes=((0, 1), (0, 1)))
    curvature = squares - np.einsum("r,rk,rl->kl", weights, means, means, optimize=True)
    return value, gradient, curvature + _RIDGE * np.eye(len(constants))
