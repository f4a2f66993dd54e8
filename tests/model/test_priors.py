"""The sparsity prior: its value, and the weights it makes of mass fractions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sklearn_keops_gmm._model._priors import (
    ComponentPrice,
    Priors,
    SparsityPrior,
    Unknowns,
)
from tests.reference import tangent_weights

strengths = st.sampled_from([0.0, 1e-3, 1.0, 5.0, 20.0, 300.0])


@st.composite
def simplexes(draw):
    """Two points of one simplex, of any concentration; masses may be zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 40))
    mass = rng.dirichlet(np.full(size, draw(st.sampled_from([0.05, 1.0, 100.0]))))
    weights = rng.dirichlet(np.full(size, draw(st.sampled_from([1.0, 100.0]))))
    return mass, weights


def bound(mass, weights, slope):
    """What an M-step minimises over the simplex: -sum r log W + slope sum sqrt W."""
    held = mass > 0
    with np.errstate(divide="ignore"):
        return slope * np.sqrt(weights).sum() - mass[held] @ np.log(weights[held])


def maximize(sparsity, n_components, mass, weights):
    prior = SparsityPrior(sparsity, n_components)
    return prior.maximize_weights(torch.tensor(mass), torch.tensor(weights)).numpy()


@pytest.mark.parametrize("sparsity", [0.5, 3.0])
def test_value(sparsity):
    weights = torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64, requires_grad=True)
    unknowns = Unknowns(weights, weights[:, None], weights, None)
    value = SparsityPrior(sparsity, 7).value(unknowns)
    assert value.item() == pytest.approx(
        sparsity / 7 * (0.5 + np.sqrt(0.75)), abs=1e-12
    )
    (gradient,) = torch.autograd.grad(value, weights)
    assert_allclose(gradient[:2], sparsity / 14 / np.sqrt([0.25, 0.75]), rtol=1e-12)
    assert torch.isfinite(gradient).all()


def test_no_sparsity_is_no_term():
    """Not even where the roots of weights are none."""
    weights = torch.tensor([1.5, -0.5], dtype=torch.float64)
    unknowns = Unknowns(weights, weights[:, None], weights, None)
    assert SparsityPrior(0.0, 7).value(unknowns) == 0.0


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 5.0])
def test_fractions_are_those_that_make_the_weights(sparsity):
    mass = np.array([0.5, 0.3, 0.15, 0.05])
    weights = maximize(sparsity, 10, mass, mass)
    found = SparsityPrior(sparsity, 10).fractions(torch.tensor(weights))
    assert_allclose(found, mass, rtol=1e-9)


@pytest.mark.parametrize(
    "prior",
    [
        Priors(),
        Priors(SparsityPrior(0.0, 4)),
        Priors(SparsityPrior(3.0, 4)),
        Priors(SparsityPrior(3.0, 4)).unselective(),
        Priors(ComponentPrice(0.1)),
    ],
)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_weights_sum_to_their_share(prior, share):
    """Whatever the masses sum to, where others are held; also without any prior."""
    mass = torch.tensor([0.2, 0.1, 0.02], dtype=torch.float64)
    weights = prior.maximize_weights(mass, share * mass / mass.sum(), share)
    assert weights.sum().item() == pytest.approx(share, rel=1e-14)


@given(pair=simplexes())
def test_without_sparsity_weights_are_masses(pair):
    mass, weights = pair
    assert_allclose(maximize(0.0, 50, mass, weights), mass, rtol=1e-14)


@given(pair=simplexes(), sparsity=strengths)
def test_weights_stay_on_the_simplex(pair, sparsity):
    mass, weights = pair
    found = maximize(sparsity, len(mass), mass, weights)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert (found[mass == 0] == 0).all()


@given(pair=simplexes(), sparsity=strengths)
def test_no_worse_than_one_step_on_the_tangent(pair, sparsity):
    """Repeated tangents end at or below the first, which brentq solves exactly."""
    mass, weights = pair
    slope = sparsity / len(mass)
    found = maximize(sparsity, len(mass), mass, weights)
    once = tangent_weights(mass, weights, slope)
    rounding = 1e-12 * max(1, abs(bound(mass, once, slope)))
    assert bound(mass, found, slope) <= bound(mass, once, slope) + rounding
    assert bound(mass, once, slope) <= bound(mass, weights, slope) + rounding


@settings(max_examples=30)
@given(pair=simplexes(), sparsity=strengths)
def test_weights_at_rest_satisfy_the_closed_form(pair, sparsity):
    """Asked again where it converged, the prior answers the same, as brentq does."""
    mass, weights = pair
    slope = sparsity / len(mass)
    for _ in range(3000):
        before = np.maximum(weights, 1e-300)
        weights = maximize(sparsity, len(mass), mass, before)
        if np.abs(weights - before).max() < 1e-13:
            break
    again = tangent_weights(mass, before, slope)
    assert_allclose(again, weights, rtol=0, atol=1e-9)


def test_number_of_components_is_as_asked_for():
    """Among survivors the price stays s / M, with the M of the start."""
    mass, weights = np.array([0.2, 0.8]), np.array([0.3, 0.7])
    few, many = maximize(2.0, 2, mass, weights), maximize(20.0, 20, mass, weights)
    assert_allclose(few, many, rtol=1e-12)
    assert not np.allclose(few, maximize(20.0, 2, mass, weights))
