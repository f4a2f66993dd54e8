"""Some samples, and what they tell of the features."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor

from sklearn_keops_gmm._fit._lattice import rounding_step
from sklearn_keops_gmm._fit._start_data import StartData

# So many samples tell the variances of features, and on which lattice values lie.
_SAMPLE = 20_000
# What lies so many times as far from the middle as most tells no variance.
_FAR = 2.0**10
# A linear function leaves such a part of variances that is computed, one of rounded
# values the second at most; and so many times as much by chance.
_PARTS, _BY_CHANCE = (1e-9, 1e-3), 2.0

# Axes of so small a part of the largest variance are as good as rounding.
_LEAST_AXIS = 1e-6


class Sample:
    """Some of the samples that starts see, evenly spaced among them.

    Without what lies far from most, such as a value that stands for a missing one.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    weights : Tensor of shape (N,) or None
    centre : Tensor of shape (D,)
        A median, or what is about there.
    size : int, default=20,000
        So many samples at most.
    """

    def __init__(
        self,
        points: Tensor,
        weights: Tensor | None,
        centre: Tensor,
        size: int = _SAMPLE,
    ) -> None:
        rows = slice(None, None, -(-len(points) // size))
        self._weights = None
        if weights is not None:
            self._weights = weights[rows].double().cpu().numpy()
        centred = (points[rows].double() - centre).cpu().numpy()
        self._points = _without_far(centred, self._weights)

    @classmethod
    def of(cls, problem: StartData, size: int = _SAMPLE) -> Sample:
        """Return some of the samples that starts see."""
        return cls(problem.points, problem.sample_weight, problem.centre, size)

    def variances(self) -> np.ndarray:
        """Return the variances of the features, (D,)."""
        variances, units = self._scaled_variances
        with np.errstate(over="ignore"):
            return np.minimum(variances * units * units, np.finfo(float).max)

    def too_narrow(self) -> np.ndarray:
        """Tell, (D,) bool, which features vary, but their variance is no float."""
        varying = self._scaled_variances[0] > 0
        return varying & (self.variances() < np.finfo(float).tiny)

    @cached_property
    def _scaled_variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return variances, (D,), in units, (D,), in which none overflows."""
        far = np.fmax.reduce(np.abs(self._points), axis=0)
        _, exponents = np.frexp(np.nan_to_num(far))
        # Exact powers of two, whose inverses are floats too.
        units = np.ldexp(1.0, np.clip(exponents, -1000, 1000))
        scaled = self._points / units
        squares = (scaled - _average(scaled, self._weights)) ** 2
        return _average(squares, self._weights), units

    def positive_variances(self) -> np.ndarray:
        """Return the same, with the smallest of the others for constant features."""
        variances = self.variances()
        varying = variances[variances > 0]
        return np.where(variances > 0, variances, varying.min() if len(varying) else 1)

    def rounding_steps(self, per_row: float) -> np.ndarray:
        """Return the steps, (D,), to which values were rounded; 0 for none.

        Parameters
        ----------
        per_row : float
            How many samples a row stands for.
        """
        steps = np.zeros(self._points.shape[1])
        for d, column in enumerate(self._points.T):
            observed = ~np.isnan(column)
            weights = None if self._weights is None else self._weights[observed]
            steps[d] = rounding_step(column[observed], weights, per_row)
        return steps

    def covariance(self) -> np.ndarray:
        """Return the covariance matrix of rows in which nothing is missing, (D, D)."""
        whole, weights = self._whole()
        found: np.ndarray = np.atleast_2d(np.cov(whole.T, aweights=weights, ddof=0))
        return found

    def principal_axes(self, spreads: np.ndarray, power: float) -> np.ndarray:
        """Return the principal axes of features in some spreads, (D, D), as columns.

        Each is over a power of its own spread, or of the least that tells something.
        Features themselves where no row is complete, or none differs.
        """
        if len(self._whole()[0]) < 2:
            return np.eye(len(spreads))
        covariance = self.covariance() / np.outer(spreads, spreads)
        if not np.isfinite(covariance).all() or not covariance.any():
            return np.eye(len(spreads))
        variances, axes = np.linalg.eigh(covariance)
        least = _LEAST_AXIS * variances[-1]
        return axes * np.maximum(variances, least) ** (-0.5 * power)

    def _whole(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the rows in which nothing is missing, (n, D), and their weights."""
        complete = ~np.isnan(self._points).any(axis=1)
        if self._weights is None:
            return self._points[complete], None
        return self._points[complete], self._weights[complete] / self._weights.max()

    def n_dependent(self, amounts: np.ndarray | float = 0.0) -> int:
        """Return the number of features that are linear functions of others.

        As exactly as rounding lets them be.

        Parameters
        ----------
        amounts : ndarray of shape (D,) or float
            What is added to variances, for the rounding of values among others.
        """
        whole, weights = self._whole()
        varying = (whole != whole[:1]).any(axis=0)
        n_varying = int(varying.sum())
        if len(whole) <= n_varying or n_varying < 2:
            return 0
        units = np.abs(whole).max(0)[varying]
        scaled = whole[:, varying] / units
        covariance = np.cov(scaled.T, aweights=weights, ddof=0)
        amounts = np.broadcast_to(amounts, varying.shape)[varying]
        with np.errstate(over="ignore"):
            amounts = amounts / units / units
        least, most = (part * covariance.diagonal() for part in _PARTS)
        left = np.sqrt(np.clip(amounts, least, most))
        known = left > 0  # not where only rows of next to no weight differ
        scale = np.outer(left[known], left[known])
        values = np.linalg.eigvalsh(covariance[np.ix_(known, known)] / scale)
        return n_varying - int((values > _BY_CHANCE).sum())


def _without_far(points: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return points, (N, D), NaN where a feature is a thousand times as far as most.

    The points are about a median. Those at it say nothing of how far most are.
    """
    weights = np.ones(len(points)) if weights is None else weights
    distances = np.abs(points)
    largest = np.fmax.reduce(distances, axis=0)
    # An order is made only where it is not plain that a quarter is about as far.
    quarter = 4 * (weights @ (distances >= largest / _FAR))
    plain = quarter > weights @ (distances > 0)
    points = points if plain.all() else points.copy()
    for d in np.flatnonzero(~plain & (largest > 0)):
        column = distances[:, d]
        order = column.argsort()
        total = np.where(column > 0, weights, 0.0)[order].cumsum()
        most = column[order[np.searchsorted(total, 0.75 * total[-1])]]
        points[column / _FAR > most, d] = np.nan
    return points


def _average(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted means of columns, without what is missing; 0 of nothing."""
    missing = np.isnan(values)
    if not missing.any():
        if weights is not None:
            return np.average(values, axis=0, weights=weights)
        plain: np.ndarray = values.sum(0) / len(values)
        return plain
    weights = np.ones(len(values)) if weights is None else weights
    total = ~missing.T @ weights
    sums = np.where(missing, 0.0, values).T @ weights
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), 0.0)
