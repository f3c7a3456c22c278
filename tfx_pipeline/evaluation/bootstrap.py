"""Intervals of weighted means over rows, by resampling users: a user's rows are no independent witnesses."""

from typing import NamedTuple

import numpy as np

from tfx_pipeline.evaluation.outcomes import Metric

_PERCENTILES = (2.5, 97.5)
_CELLS = 40_000_000  # of resamples x users at a time: 160 MB as float32


class Resampled(NamedTuple):
    """A metric and what it would be on other users.

    Attributes:
        value: of all rows; NaN without weight.
        samples: [num_samples], of each resample.
    """

    value: float
    samples: np.ndarray

    def interval(self) -> dict[str, float]:
        """`value` with the 95% interval `low` to `high`."""
        low, high = np.nanpercentile(self.samples, _PERCENTILES) if np.isfinite(self.value) else (np.nan, np.nan)
        return {"value": self.value, "low": float(low), "high": float(high)}

    def standard_error(self) -> float:
        """Of the resamples."""
        return float(np.nanstd(self.samples)) if np.isfinite(self.value) else float("nan")

    def minus(self, other: "Resampled") -> "Resampled":
        """The paired difference: both on the same users."""
        return Resampled(self.value - other.value, self.samples - other.samples)


class Resampler:
    """The same resamples of users for every metric, so that differences are paired (Efron & Tibshirani, 1993).

    Args:
        users: [rows] of any kind.
        num_samples: resamples.
        seed: of them.
    """

    def __init__(self, users: np.ndarray, *, num_samples: int, seed: int) -> None:
        names, self._user_of_row = np.unique(users, return_inverse=True)
        self._num_users = len(names)
        self._num_samples = num_samples
        self._seed = seed

    def num_users(self, rows: np.ndarray) -> int:
        """Distinct users of a [rows] mask."""
        return len(np.unique(self._user_of_row[rows]))

    def measure(self, metrics: list[Metric], rows: np.ndarray) -> list[Resampled]:
        """Each metric over the rows of a mask.

        Args:
            metrics: over all rows.
            rows: [rows] bool.
        """
        users, place = np.unique(self._user_of_row[rows], return_inverse=True)
        sums = [
            np.bincount(place, column[rows], minlength=len(users))
            for metric in metrics
            for column in (metric.outcomes * metric.weights, metric.weights)
        ]
        joined = np.stack(sums, axis=1) if len(users) else np.zeros((0, 2 * len(metrics)))
        whole, resampled = joined.sum(axis=0), self._resample(joined)
        return [
            Resampled(float(_ratio(whole[at], whole[at + 1])), _ratio(resampled[:, at], resampled[:, at + 1]))
            for at in range(0, joined.shape[1], 2)
        ]

    def _resample(self, sums: np.ndarray) -> np.ndarray:
        """[users, n] sums -> [num_samples, n] sums over as many users, drawn with replacement."""
        num_users = len(sums)
        random = np.random.default_rng(self._seed)
        step = max(1, _CELLS // max(1, num_users))
        parts = [np.zeros((0, sums.shape[1]))]
        for start in range(0, self._num_samples, step):
            drawn = min(step, self._num_samples - start)
            if not num_users:
                parts.append(np.zeros((drawn, sums.shape[1])))
                continue
            draws = random.integers(0, num_users, (drawn, num_users)) + num_users * np.arange(drawn)[:, np.newaxis]
            counts = np.bincount(draws.ravel(), minlength=drawn * num_users).reshape(drawn, num_users)
            parts.append(counts @ sums)
        return np.concatenate(parts)


def _ratio(numerators: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weights > 0, numerators / weights, np.nan)
