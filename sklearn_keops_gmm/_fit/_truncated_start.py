"""A start for very many components, whose cost for a sample grows as the root of them.

Centres are drawn far from each other in a few batches, and moved by steps of k-means
that compare each sample with few of them. Each component then has the mean and the
weight of a cluster. All have the covariance within clusters, for that of a cluster of
few samples says little: what is special about a component shows in the steps to come.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import Components, MixtureParameters, Moments
from sklearn_keops_gmm.backends import NearestMeans, TruncatedReductions

# In so many batches centres are drawn, and so often they are moved.
_BATCHES, _STEPS = 4, 5
# What each component has at least, of an equal share.
_LEAST = 1e-2


def truncated_start(
    problem: StartData, ridge: Tensor | float, random_state: RandomState
) -> MixtureParameters:
    """Return where a fit with few candidates for each sample starts.

    Parameters
    ----------
    problem : StartData
        Without missing features, on the CPU.
    ridge : float or Tensor of shape (D,)
        Added to the variances.
    random_state : RandomState
    """
    part, _ = problem.drawn(random_state)
    reductions = TruncatedReductions(
        part.points, part.sample_weight, part.frame, truncation=1
    )
    means = part.points[_centres(part, random_state)].double()
    for _ in range(_STEPS):
        moments = reductions.moments(_clusters(means))
        mass = moments.mass
        means = means + moments.first / torch.where(mass > 0, mass, 1.0)[:, None]
    # So that none is lost from the beginning.
    mass = mass + _LEAST * part.total_weight / len(mass)
    covariance = part.covariance
    within = _within(part, means, reductions.leaders())
    second = mass.reshape(-1, *[1] * within.ndim) * within
    moments = Moments(mass, torch.zeros_like(means), covariance.pool(second), 0.0)
    means, covariances = covariance.m_step(moments, means, ridge)
    weights = mass / mass.sum()
    factors = covariance.factors(covariances)
    return MixtureParameters(weights, means, covariances, factors)


def _clusters(means: Tensor) -> Components:
    """Return components of which the likeliest is the nearest."""
    ones = torch.ones_like(means[:, 0])
    return Components("spherical", torch.zeros_like(ones), means, ones)


def _centres(problem: StartData, random_state: RandomState) -> np.ndarray:
    """Draw samples, in batches, in proportion to squared distances from those before.

    One at a time that is k-means++ (Arthur and Vassilvitskii, 2007). Those of a batch
    are drawn at equal steps, so that an integer weight counts as that many rows.
    """
    frame, n_components = problem.frame, problem.n_components
    points = ((problem.points - frame.centre) / frame.scale).float()
    weights = problem.weights(slice(None)).numpy()
    distances: np.ndarray = np.ones(len(points))
    chosen: list[np.ndarray] = []
    for batch in np.array_split(np.arange(n_components), min(n_components, _BATCHES)):
        ends = np.cumsum(distances * weights)
        if not ends[-1] > 0:  # all samples are among the centres
            ends = np.cumsum(weights)
        places = (random_state.uniform() + np.arange(len(batch))) / len(batch)
        rows = ends.searchsorted(places * ends[-1], "right")
        chosen.append(np.minimum(rows, len(points) - 1))
        squares, _ = NearestMeans(points[chosen[-1]]).find(points, 1)
        found = squares[:, 0].double().numpy()
        distances = found if len(chosen) == 1 else np.minimum(distances, found)
    return np.concatenate(chosen)


def _within(problem: StartData, means: Tensor, labels: Tensor) -> Tensor:
    """Return the mean second moment of samples about the centres of their clusters."""
    centred = means - problem.centre
    total = torch.zeros_like(problem.covariance.outer(centred[:1])[0])
    for rows in problem.tiles():
        roots = problem.weights(rows).sqrt()[:, None]
        differences = roots * (problem.centred(rows) - centred[labels[rows]])
        total += problem.covariance.outer(differences).sum(0)
    return total / problem.total_weight
