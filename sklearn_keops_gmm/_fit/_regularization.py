"""What keeps variances from collapsing: a ridge in the data's units, and pooling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._fit._lattice import rounding_step
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._warnings import warn_user
from sklearn_keops_gmm._model import PooledCovariances, Ridge, say_weak
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# So many samples tell the variances of features, and on which lattice values lie; a
# warning, which every fit may give, takes fewer.
_SAMPLE, _SMALL_SAMPLE = 20_000, 1000
# The ridge beside the variance of a feature, where that is to set it.
_RELATIVE = 1e-6
# A ridge above this part of a variance is not negligible any more.
_LARGE = 1e-2
# What lies so many times as far from the middle as most tells no variance.
_FAR = 2.0**10


def pooled_covariances(
    covariance: CovarianceStructure,
    pooling: float | str,
    sample_size: float,
    n_features: int,
) -> PooledCovariances | None:
    """Return the prior that pools covariances, if they are."""
    own = covariance.pseudo_samples(n_features)
    pseudo_samples = own if pooling == "auto" else float(pooling)
    if own == 0.0 or pseudo_samples == 0.0:
        return None
    return PooledCovariances(covariance, pseudo_samples, sample_size, n_features)


def find_ridge(reg_covar: float | str, problem: StartData, lattice: bool) -> Ridge:
    """Return what is added to the variances of all components.

    Parameters
    ----------
    reg_covar : float or "auto"
        A number is added as it is; "auto" is a millionth of each feature's variance.
    problem : StartData
    lattice : bool
        Whether values that were rounded to a step h stand for all within h / 2 of them,
        whose variance h**2 / 12 is then added.
    """
    relative = reg_covar == "auto"
    if not relative and not lattice:
        return Ridge(float(reg_covar))
    sample = Sample(problem)
    n_features = problem.points.shape[1]
    amounts = np.full(n_features, 0.0 if relative else float(reg_covar))
    if relative:
        amounts += _RELATIVE * sample.positive_variances()
    if lattice:
        per_row = problem.mean_weight if problem.counted else 1.0
        amounts += sample.rounding_steps(max(1.0, per_row)) ** 2 / 12
    size = float(amounts.max())
    if (amounts == size).all():
        return Ridge(size)
    return Ridge(size, torch.from_numpy(amounts / size).to(problem.centre))


def warn_of_large_ridge(reg_covar: float | str, problem: StartData) -> None:
    """Warn where `reg_covar` is no longer negligible beside the data's variances."""
    if isinstance(reg_covar, str) or reg_covar == 0.0:
        return
    if _is_plainly_small(reg_covar, problem):
        return
    variances = Sample(problem, _SMALL_SAMPLE).variances()
    variances = variances[variances > 0]
    if len(variances) and reg_covar > _LARGE * variances.min():
        warn_user(
            f"reg_covar={reg_covar:g} is more than a hundredth of the smallest "
            f"variance of a feature, {variances.min():.3g}: it widens the components. "
            "Scale the input data, decrease reg_covar, or use reg_covar='auto'.",
        )


def _is_plainly_small(reg_covar: float | str, problem: StartData) -> bool:
    """Tell whether `reg_covar` is small beside what variances are at least.

    Of n numbers the two that are farthest apart make up for (high - low)**2 / 2n.
    """
    n_samples = len(problem.points)
    if problem.sample_weight is not None or n_samples > _SMALL_SAMPLE:
        return False
    width = float((problem.extent.high - problem.extent.low).min())
    return float(reg_covar) <= _LARGE * width * width / (2 * n_samples)


def n_distinct_rows(points: Tensor, enough: int) -> int:
    """Return the number of distinct rows, or `enough` if there are as many.

    What is missing is as a value of its own.
    """
    rows = points[:: -(-len(points) // _SAMPLE)].cpu().numpy()
    rows = np.where(np.isnan(rows), np.inf, rows)
    if max(len(np.unique(column)) for column in rows.T) >= enough:
        return enough
    return min(enough, len(np.unique(rows, axis=0)))


def warn_of_weak_components(weak: list[int], remedy: str) -> None:
    """Warn of components that the data say too little about, if there are any."""
    if weak:
        warn_user(f"{say_weak(weak)} {remedy}")


class Sample:
    """Some of the samples that starts see, evenly spaced among them.

    Without what lies far from most, such as a value that stands for a missing one.

    Parameters
    ----------
    problem : StartData
    size : int, default=20,000
        So many at most.
    """

    def __init__(self, problem: StartData, size: int = _SAMPLE) -> None:
        every = -(-len(problem.points) // size)
        rows = slice(None, None, every)
        self._weights = None
        if problem.sample_weight is not None:
            self._weights = problem.weights(rows).cpu().numpy()
        self._points = _without_far(problem.centred(rows).cpu().numpy(), self._weights)

    def variances(self) -> np.ndarray:
        """Return the variances of the features, (D,)."""
        means = _average(self._points, self._weights)
        with np.errstate(over="ignore"):
            squares = (self._points - means) ** 2
            variances = _average(squares, self._weights)
        return np.minimum(variances, np.finfo(float).max)

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
