"""What starts see in place of features that are missing: draws, given the others.

They are drawn from one Gaussian, found by EM on the incomplete samples (Little and
Rubin, "Statistical analysis with missing data", 2019, chapter 11). Means in their place
would make clusters of their own.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import Components, Frame
from sklearn_keops_gmm._model.covariances import make_covariance
from sklearn_keops_gmm.backends import (
    IncompleteBackend,
    IncompleteReductions,
    choose_backend,
    get_backend,
    has_missing,
)

# So many samples tell the Gaussian, or so many for each feature where that is more.
_SAMPLE, _PER_FEATURE = 4096, 20
# Its EM rests when less mean log-likelihood is gained, or after so many steps.
_TOL, _MOST_STEPS = 1e-3, 100
# What is added to its variances, beside those of the features.
_RIDGE = 1e-3


def filled(problem: StartData, random_state: RandomState) -> StartData:
    """Return the problem with draws for all features that are missing.

    It is this one, and nothing is drawn, if none is.
    """
    points, frame = problem.points, problem.frame
    if not (problem.extent.incomplete and has_missing(points)):
        return problem
    framed = (points.double() - frame.centre) / frame.scale
    gaussian = _gaussian(framed, problem.weights(slice(None)))
    whole = _bound(framed, None).drawn(gaussian, random_state)
    whole = (frame.centre + frame.scale * whole).to(points.dtype)
    return replace(problem, points=torch.where(points.isnan(), whole, points))


def _bound(points: Tensor, weights: Tensor | None) -> IncompleteReductions:
    """Bind points that are in a frame already."""
    frame = Frame(torch.zeros_like(points[0]))
    backend = get_backend(choose_backend("auto", points.device, "full"))
    return IncompleteBackend(backend)(points, weights, frame)


def _gaussian(points: Tensor, weights: Tensor) -> Components:
    """Return the Gaussian that is the most likely of incomplete points, about."""
    covariance = make_covariance("full")
    size = max(_SAMPLE, _PER_FEATURE * points.shape[1])
    rows = slice(None, None, -(-len(points) // size))
    reductions = _bound(points[rows], weights[rows])
    means, variances = _observed(points, weights)
    ridge = _RIDGE * variances
    matrices = torch.diag(variances)[None]
    means, before = means[None], -torch.inf
    for _ in range(_MOST_STEPS):
        gaussian = covariance.components(
            means.new_zeros(1), means, covariance.factors(matrices)
        )
        moments = reductions.moments(gaussian)
        gained = moments.log_likelihood - before
        if gained < _TOL * float(moments.mass.sum()):
            break
        before = moments.log_likelihood
        means, matrices = covariance.m_step(moments, means, ridge)
    return gaussian


def _observed(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and the variances, (D,), of what is observed of each feature.

    None of the variances is zero.
    """
    missing = points.isnan()
    shares = torch.where(missing, 0.0, weights[:, None])
    shares = shares / shares.sum(0).clamp_min(torch.finfo(shares.dtype).tiny)
    known = points.nan_to_num()
    means = (shares * known).sum(0)
    variances = (shares * (known - means) ** 2).sum(0)
    varying = variances[variances > 0]
    least = varying.min() if len(varying) else torch.ones_like(means[0])
    return means, torch.where(variances > 0, variances, least)
