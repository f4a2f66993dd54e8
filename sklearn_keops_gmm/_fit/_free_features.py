"""How many features have parameters: what criteria charge for."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._start_data import StartData


def n_free_features(problem: StartData, ridge: Tensor) -> int:
    """Return the number of features that have parameters of their own.

    One that is constant, or a linear function of others, may have none.

    Parameters
    ----------
    problem : StartData
    ridge : Tensor of shape (D,)
        What is added to the variances.
    """
    n_dependent = Sample.of(problem).n_dependent(ridge.cpu().numpy())
    return problem.covariance.n_free_features(
        problem.points.shape[1], problem.extent.n_varying, n_dependent
    )


def most_components(data: Data) -> int:
    """Return how many components have enough samples each, on average.

    That is twice as many as features and one more, of features that have parameters in
    covariances.
    """
    sample = Sample(data.points, data.sample_weight, data.frame().centre)
    n_free = data.extent.n_varying - sample.n_dependent()
    return max(1, int(data.sample_size) // (2 * (n_free + 1)))


def say_without_parameters(data: Data, ridge: np.ndarray) -> str | None:
    """Return which features have no parameters of their own, and what to do.

    None if all have: none is constant, and none a linear function of others.

    Parameters
    ----------
    data : Data
    ridge : ndarray of shape (D,)
        What is added to the variances.
    """
    remedy = "Leave out such features, fit again, and ask for errors of the others."
    constant = np.flatnonzero(data.extent.low == data.extent.high).tolist()
    if constant:
        what = "Feature {} is" if len(constant) == 1 else "Features {} are"
        named = what.format(", ".join(map(str, constant)))
        return f"{named} constant, and the likelihood has no maximum. {remedy}"
    sample = Sample(data.points, data.sample_weight, data.frame().centre)
    n_features, n_dependent = data.points.shape[1], sample.n_dependent(ridge)
    if n_dependent == 0:
        return None
    return (
        "Features depend linearly on each other, as a copy or a sum of others does: "
        f"their covariance matrix is singular in {n_dependent} of {n_features} "
        f"dimensions, and the likelihood has no maximum. {remedy}"
    )
