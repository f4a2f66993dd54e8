"""Penalised EM never raises what it majorises."""

from itertools import pairwise, takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.common import mixture_of, spiral, start
from tests.reference import COVARIANCE_TYPES

problems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n_samples": st.integers(150, 400),
        "n_features": st.integers(1, 4),
        "n_blobs": st.integers(1, 4),
        "distance": st.sampled_from([0.5, 3.0, 30.0]),
    }
)


def draw(seed, n_samples, n_features, n_blobs, distance):
    """A sample of a random mixture."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=distance, size=(n_blobs, n_features))
    mixing = np.eye(n_features) + 0.4 * rng.normal(size=(n_features, n_features))
    noise = rng.normal(size=(n_samples, n_features)) @ mixing
    return centres[rng.integers(n_blobs, size=n_samples)] + noise


def narrowest(X, structure, mixture):
    """The smallest variance of `mixture` in any direction, relative to that of `X`."""
    covariances = mixture.covariances
    if structure in ("full", "tied"):
        covariances = np.linalg.eigvalsh(covariances)
    return covariances.min() / X.var(axis=0).max()


def error_of_fit(model, X):
    """Fit, and return the text of the error where there is one."""
    try:
        model.fit(X)
    except ValueError as error:
        return str(error)
    return None


def last_before_error(model, X):
    """Return the longest fit that goes through."""
    steps = (clone(model).set_params(max_iter=k) for k in range(model.max_iter + 1))
    return list(takewhile(lambda step: not error_of_fit(step, X), steps))[-1]


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("sparsity", [0.0, 1.0, 20.0])
@settings(max_examples=5)
@given(problem=problems, extra=st.integers(0, 4))
@pytest.mark.fast(6)
def test_cost_never_rises(structure, sparsity, problem, extra):
    """Until a component collapses, where the likelihood has no maximum."""
    X = draw(**problem)
    model = KeOpsGaussianMixture(
        problem["n_blobs"] + extra,
        covariance_type=structure,
        sparsity=sparsity,
        moves=False,
        reg_covar=0,
        tol=0,
        max_iter=20,
        random_state=problem["seed"],
    )
    error = error_of_fit(model, X)
    if error:
        assert "ill-defined empirical covariance" in error
        model = last_before_error(model, X)
        step = reference.em_step(X, structure, mixture_of(model))
        assert narrowest(X, structure, step) < 1e-10
    while narrowest(X, structure, mixture_of(model)) < 1e-10:
        model = clone(model).set_params(max_iter=model.n_iter_ - 1).fit(X)
    costs = np.array([*model.costs_, model.cost_])
    assert (np.diff(costs) <= 1e-12 * np.maximum(1, np.abs(costs[1:]))).all()
    assert model.weights_.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("sparsity", [0.0, 2.0])
@pytest.mark.parametrize("reg_covar", [1e-6, 0.1])
def test_regularised_steps_improve_their_bound(structure, sparsity, reg_covar):
    """Each M-step lowers -Q + reg_covar / 2 sum_j r_j tr(inv(Sigma_j)) + the prior."""
    X = spiral(200)
    n_components = 4
    given = start(X, structure, n_components, scale=50.0) | {
        "sparsity": sparsity,
        "moves": False,
        "reg_covar": reg_covar,
    }
    path = []
    for k in range(6):
        model = KeOpsGaussianMixture(**given, tol=0, max_iter=k).fit(X)
        path.append(mixture_of(model))

    def bound(pulls, mixture):
        parts = reference.components_of(structure, mixture)
        terms = reference.pair_terms(X, *parts)
        matrices = reference.as_matrices(structure, parts[3], mixture.means)
        traces = (matrices**2).sum(axis=(1, 2))
        mass = pulls.mean(axis=0)
        penalty = sparsity / n_components * np.sqrt(mixture.weights).sum()
        expected = (pulls * terms).sum() / len(X)
        return float(0.5 * reg_covar * mass @ traces - expected + penalty)

    for before, after in pairwise(path):
        assert len(after.weights) == len(before.weights)
        parts = reference.components_of(structure, before)
        pulls = reference.responsibilities(X, *parts)
        old, new = bound(pulls, before), bound(pulls, after)
        assert new <= old + 1e-12 * max(1, abs(old))


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("sparsity", [0.0, 2.0])
@pytest.mark.fast(4)
def test_fixed_point_is_stationary(structure, sparsity):
    """Where EM has converged, no direction in the weights lowers the penalised cost."""
    X = spiral(200)
    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        sparsity=sparsity,
        tol=1e-12,
        max_iter=5000,
        random_state=0,
    ).fit(X)
    assert model.converged_
    parts = reference.components_of(structure, mixture_of(model))
    mass = reference.responsibilities(X, *parts).mean(axis=0)
    slopes = sparsity / 3 / (2 * np.sqrt(model.weights_)) - mass / model.weights_
    assert slopes - slopes.mean() == pytest.approx(0, abs=1e-5)
