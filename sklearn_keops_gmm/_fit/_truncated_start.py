"""A start for very many components, whose cost for a sample grows as the root of them.

Centres are drawn far from each other in a few batches, and moved by steps of k-means
that compare each sample with few of them. Each component then has the mean and the
weight of a cluster, and its covariance, drawn towards that within all clusters: that of
few samples says little. Where all begin with one covariance so many components are as
likely for a sample that its few candidates have but a part of it.
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
    second = covariance.pool(_second(part, means, reductions.leaders(), mass))
    moments = Moments(mass, torch.zeros_like(means), second, 0.0)
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


def _second(problem: StartData, means: Tensor, labels: Tensor, mass: Tensor) -> Tensor:
    """Return second moments about the centres of clusters, for so much mass in each.

    To the samples of a cluster as many of all clusters are added as a covariance needs.
    """
    centred = means - problem.centre
    sums = torch.zeros_like(problem.covariance.outer(centred))
    weight = torch.zeros_like(mass)
    for rows in problem.tiles():
        weights, own = problem.weights(rows), labels[rows]
        differences = problem.centred(rows) - centred[own]
        squares = problem.covariance.outer(weights.sqrt()[:, None] * differences)
        sums.index_add_(0, own, squares)
        weight.index_add_(0, own, weights)
    one = 1.0 if problem.counted else problem.mean_weight
    added = (means.shape[1] + 1) * one
    within = sums.sum(0) / problem.total_weight
    shares = (mass / (weight + added)).reshape(-1, *[1] * within.ndim)
    return shares * (sums + added * within)
