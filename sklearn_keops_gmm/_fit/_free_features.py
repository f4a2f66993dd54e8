"""How many features have parameters: what criteria charge for."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model.covariances import make_covariance

# So many components are a few, and so many samples are enough for each of them.
_FEW, _ENOUGH = 5, 8


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


def most_components(data: Data, covariance_type: str) -> int:
    """Return how many components have enough samples each, on average.

    These are twice as many as features and one more, so that what each gains by chance
    is what criteria charge for. Where they have no matrices of their own a few may have
    eight: of half as many features as samples there would be one otherwise.

    Parameters
    ----------
    data : Data
    covariance_type : str
    """
    covariance = make_covariance(covariance_type)
    sample = Sample(data.points, data.sample_weight, data.frame().centre)
    n_free = covariance.n_free_features(
        data.points.shape[1], data.extent.n_varying, sample.n_dependent()
    )
    size = int(data.sample_size)
    most = size // (2 * (n_free + 1))
    if covariance.pseudo_samples(n_free) <= 1.0:
        most = max(most, min(_FEW, size // _ENOUGH))
    return max(1, most)


def say_upper_bound(most: int, wanted: int) -> str:
    """Return that the largest number that was tried was the best, and what to do.

    Parameters
    ----------
    most : int
        The number.
    wanted : int
        What was asked for, which is more where samples are few.
    """
    remedy = (
        "increase n_components"
        if most == wanted
        else "give more samples, each has 2 (n_features + 1) of its own; up to 5 "
        "components may have 8 where covariance_type is 'diag' or 'tied'"
    )
    return (
        f"The number of components found, {most}, is the largest that was tried: more "
        f"may be better. To try more, {remedy}."
    )


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
