"""What keeps variances from collapsing: a ridge in the data's units, and pooling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data import Extent
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import PooledCovariances, Ridge, say_weak
from sklearn_keops_gmm._model.covariances import CovarianceStructure
from sklearn_keops_gmm.backends import warn_user

# A warning, which every fit may give, takes few samples; distinct rows are sought in so
# many.
_SMALL_SAMPLE, _ROWS = 1000, 20_000
# The ridge beside the variance of a feature, where that is to set it.
_RELATIVE = 1e-6
# A ridge above this part of a variance is not negligible any more.
_LARGE = 1e-2
# The square of what is wider is no number.
_WIDEST = 1e154


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

    Raises
    ------
    ValueError
        If a feature varies by so little that a millionth of its variance is nothing, or
        by so much that its variance is no number, and that is asked for.
    """
    relative = reg_covar == "auto"
    if not relative and not lattice:
        return Ridge(float(reg_covar))
    sample = Sample.of(problem)
    n_features = problem.points.shape[1]
    rounded = None
    amounts = np.full(n_features, 0.0 if relative else float(reg_covar))
    if relative:
        _check_squares(sample, problem.extent)
        amounts += _RELATIVE * sample.positive_variances()
    if lattice:
        per_row = problem.mean_weight if problem.counted else 1.0
        variances = sample.rounding_steps(max(1.0, per_row)) ** 2 / 12
        amounts += variances
        if variances.any():
            rounded = torch.from_numpy(variances).to(problem.centre)
    size = float(amounts.max())
    if (amounts == size).all():
        return Ridge(size, rounded=rounded)
    profile = torch.from_numpy(amounts / size).to(problem.centre)
    return Ridge(size, profile, rounded)


def warn_of_large_ridge(reg_covar: float | str, problem: StartData) -> None:
    """Warn where `reg_covar` is no longer negligible beside the data's variances."""
    if isinstance(reg_covar, str) or reg_covar == 0.0:
        return
    if _is_plainly_small(reg_covar, problem):
        return
    sample = Sample.of(problem, _SMALL_SAMPLE)
    variances = sample.variances()
    variances = variances[(variances > 0) | sample.too_narrow()]
    if len(variances) and reg_covar > _LARGE * variances.min():
        warn_user(
            f"reg_covar={reg_covar:g} is more than a hundredth of the smallest "
            f"variance of a feature, {variances.min():.3g}: it widens the components. "
            "Scale the input data, decrease reg_covar, or use reg_covar='auto'.",
        )


def _check_squares(sample: Sample, extent: Extent) -> None:
    """Raise ValueError where variances are beyond what numbers can hold."""
    with np.errstate(over="ignore"):
        wide = np.flatnonzero(extent.high - extent.low > _WIDEST)
    narrow = np.flatnonzero(sample.too_narrow())
    for features, how in ((narrow, "less than 1e-154"), (wide, "more than 1e154")):
        if len(features):
            raise ValueError(
                f"X varies by {how} in features {features.tolist()}, and no number "
                "holds the square of that. Scale these features."
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
    rows = points[:: -(-len(points) // _ROWS)].cpu().numpy()
    rows = np.where(np.isnan(rows), np.inf, rows)
    if max(len(np.unique(column)) for column in rows.T) >= enough:
        return enough
    return min(enough, len(np.unique(rows, axis=0)))


def warn_of_weak_components(weak: list[int], remedy: str) -> None:
    """Warn of components that the data say too little about, if there are any."""
    if weak:
        warn_user(f"{say_weak(weak)} {remedy}")
