"""Starts that depend on the samples alone: not on a seed, nor on their order."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from torch import Tensor

from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._user_start import NOTHING_GIVEN
from sklearn_keops_gmm._model import MixtureParameters, Prior, Ridge
from sklearn_keops_gmm.solvers import MOST_ON_A_PATH

# Seeds from here on: of samples in order of their distance 0 happens to draw worse than
# others do.
_FIRST_SEED = 5
_TINY = torch.finfo(torch.float64).tiny


class Wanted(Protocol):
    """The estimator's parameters that say how a fit starts."""

    n_components: int
    init_params: str
    weights_init: ArrayLike | None
    means_init: ArrayLike | None
    precisions_init: ArrayLike | None


def is_seedless(mixture: Wanted, problem: StartData, prior: Prior) -> bool:
    """Tell whether a fit whose moves look for few components has such a start.

    What follows the start depends on no seed there either.
    """
    return (
        prior.selects
        and not prior.pools
        and mixture.n_components <= MOST_ON_A_PATH
        and begins_by_kmeans(mixture, problem)
    )


def begins_by_kmeans(mixture: Wanted, problem: StartData) -> bool:
    """Tell whether a fit begins where k-means ends, of which nothing is given."""
    given = (mixture.weights_init, mixture.means_init, mixture.precisions_init)
    return (
        mixture.init_params == "kmeans"
        and problem.component_labels is None
        and all(array is None for array in given)
    )


def seedless_start(
    problem: StartData, ridge: Ridge, which: int = 0
) -> MixtureParameters:
    """Return where k-means ends of samples in an order of their own, from one seed.

    There are as many such starts as are asked for: the first, the second and so on.
    """
    found = problem.of_rows(order_of(problem))
    random_state = RandomState(_FIRST_SEED + which)
    return initialize(found, "kmeans", NOTHING_GIVEN, ridge, random_state).normalised()


def order_of(problem: StartData) -> Tensor:
    """Return an order of the samples, (N,), by their distance from the mean.

    That is the same whatever the order, the sign or the origin of the features; but for
    samples that are as far as others, which the features order.
    """
    weights, points = problem.sample_weight, problem.points
    keys = list(points.T) if weights is None else [weights, *points.T]
    keys.append(_distances(problem))
    order = torch.from_numpy(np.lexsort([key.cpu().numpy() for key in keys]))
    return order.to(points.device)


def _distances(problem: StartData) -> Tensor:
    """Return squared distances from the mean, (N,), to the digits that are certain.

    Features that are missing add nothing.
    """
    weights = problem.weights(slice(None)).cpu()[:, None]
    centred = problem.centred(slice(None)).cpu()
    if problem.spreads is not None:
        centred = centred / problem.spreads.cpu()
    mass = torch.where(centred.isnan(), 0.0, weights).sum(0).clamp_min(_TINY)
    centred = centred - (weights * centred).nansum(0) / mass
    distances = centred.square().nansum(1)
    unit = torch.finfo(problem.points.dtype).eps ** 0.5 * distances.max()
    return (distances / unit.clamp_min(_TINY)).round()
