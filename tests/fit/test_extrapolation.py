"""Extrapolation of two steps: exact where they shrink evenly, and without units."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm._fit._chart import extrapolate
from sklearn_keops_gmm._model._parameters import MixtureParameters
from sklearn_keops_gmm._model.covariances import COVARIANCES, make_covariance

every_structure = pytest.mark.parametrize("structure", COVARIANCES)

N_COMPONENTS, N_FEATURES = 3, 2


def draw_factors(covariance, rng):
    """Draw triangular factors with a positive diagonal."""
    shape = covariance.shape(N_COMPONENTS, N_FEATURES)
    factors = rng.normal(size=shape)
    if covariance.structure in ("full", "tied"):
        factors = np.triu(factors, 1) + np.eye(N_FEATURES) * rng.uniform(0.5, 2, shape)
    else:
        factors = rng.uniform(0.5, 2, shape)
    return torch.tensor(factors)


def draw_mixture(covariance, rng):
    factors = draw_factors(covariance, rng)
    weights = torch.tensor(rng.dirichlet(np.ones(N_COMPONENTS)))
    means = torch.tensor(rng.normal(size=(N_COMPONENTS, N_FEATURES)))
    return MixtureParameters(weights, means, covariance.covariances(factors), factors)


def shrinking_steps(covariance, rng, rate, size=1.0):
    """Return a fixed point and three mixtures on the way: the way left shrinks evenly.

    In the coordinates of the extrapolation, which are measured from the first.
    """
    start = draw_mixture(covariance, rng)
    factors = start.precisions_cholesky
    n_steps = covariance.inverse_retract(factors, factors).shape
    steps = torch.tensor(rng.normal(scale=0.3, size=n_steps))
    moves = torch.tensor(rng.normal(scale=0.3, size=start.means.shape))
    logs = torch.tensor(rng.normal(scale=0.3, size=N_COMPONENTS))

    def at(part):
        moved = covariance.retract(factors, part * steps)
        return MixtureParameters(
            start.weights * (part * logs).exp(),
            size * (start.means + covariance.unwhiten(factors, part * moves)),
            covariance.covariances(moved) * size**2,
            moved / size,
        )

    return at(1.0), (at(0.0), at(1.0 - rate), at(1.0 - rate**2))


@every_structure
def test_steps_are_what_moves(structure, rng):
    covariance = make_covariance(structure)
    factors, others = (draw_factors(covariance, rng) for _ in range(2))
    moved = covariance.retract(factors, covariance.inverse_retract(factors, others))
    assert_allclose(moved, others, atol=1e-14)
    means = torch.tensor(rng.normal(size=(N_COMPONENTS, N_FEATURES)))
    whitened = covariance.whiten(factors, means)
    assert_allclose(covariance.unwhiten(factors, whitened), means, atol=1e-14)


@every_structure
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_exact_where_steps_shrink_evenly(structure, rate, size, rng):
    covariance = make_covariance(structure)
    end, track = shrinking_steps(covariance, rng, rate, size)
    found = extrapolate(covariance, track, longest=1000.0)
    assert found.length == pytest.approx(1 / (1 - rate))
    logs, means, factors = found.unknowns
    assert_allclose(logs.exp(), end.weights, rtol=1e-9)
    assert_allclose(means, end.means, rtol=1e-9, atol=1e-9 * size)
    assert_allclose(factors, end.precisions_cholesky, atol=1e-9 / size)


@every_structure
def test_longest(structure, rng):
    covariance = make_covariance(structure)
    _, track = shrinking_steps(covariance, rng, rate=0.99)
    assert extrapolate(covariance, track, longest=7.0).length == 7.0


def test_nothing_to_extrapolate(rng):
    covariance = make_covariance("full")
    _, track = shrinking_steps(covariance, rng, rate=0.9)
    # A step that overshoots by as much as it is long needs no leap.
    back = (track[0], track[2], track[0])
    assert extrapolate(covariance, back, longest=100.0) is None
    still = (track[0],) * 3
    assert extrapolate(covariance, still, longest=100.0) is None
    weights = track[0].weights.clone()
    weights[0] = 0.0
    dying = tuple(replace(mixture, weights=weights) for mixture in track)
    assert extrapolate(covariance, dying, longest=100.0) is None
    fewer = replace(track[2], weights=weights[1:])
    assert extrapolate(covariance, (*track[:2], fewer), longest=100.0) is None
