"""Mixtures as vectors: the gradient, the scale, and what the centre gives back."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._model._parameters import Frame, MixtureParameters, Ridge
from sklearn_keops_gmm._model._priors import Priors, SparsityPrior
from sklearn_keops_gmm._model.covariances import make_covariance
from sklearn_keops_gmm.backends import get_backend
from tests import reference
from tests.common import blobs, every_backend
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def objective_on(X, structure, *, backend="torch", sparsity=1.0, reg_covar=0.1):
    """The objective of three components on unweighted data."""
    return MixtureObjective(
        get_backend(backend)(torch.tensor(X), None, Frame(torch.zeros(2).double())),
        float(len(X)),
        make_covariance(structure),
        3,
        Priors(SparsityPrior(sparsity, 3)),
        Ridge(reg_covar),
    )


def mixture(weights, means, structure, covariances):
    """Parameters from numpy arrays."""
    factors = reference.factors_of(structure, covariances)
    arrays = (weights, means, covariances, factors)
    return MixtureParameters(*(torch.tensor(array) for array in arrays))


def random_mixture(rng, structure):
    """Three components anywhere, of any shape."""
    shape = make_covariance(structure).shape(3, 2)
    covariances = rng.uniform(0.5, 2, size=shape)
    if structure in ("full", "tied"):
        covariances = covariances @ np.swapaxes(covariances, -1, -2) + 0.2 * np.eye(2)
    means = rng.normal(scale=3, size=(3, 2))
    return mixture(rng.dirichlet(np.ones(3)), means, structure, covariances)


@every_structure
def test_the_origin_is_the_centre(structure, rng):
    centre = random_mixture(rng, structure)
    around = objective_on(blobs(), structure).near(centre)
    found = around.parameters(around.origin)
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        assert_allclose(getattr(found, name), getattr(centre, name), atol=1e-12)
    low, high = around.bounds
    assert (low < around.origin).all()
    assert (around.origin < high).all()


@every_structure
def test_every_vector_is_a_mixture_of_triangular_factors(structure, rng):
    objective = objective_on(blobs(), structure)
    around = objective.near(random_mixture(rng, structure))
    low, high = around.bounds
    found = around.parameters(rng.uniform(low, np.minimum(high, 5.0)))
    upper = reference.as_matrices(
        structure, found.precisions_cholesky.numpy(), found.means.numpy()
    )
    assert (np.tril(upper, -1) == 0).all()
    assert (np.diagonal(upper, axis1=1, axis2=2) > 0).all()
    assert (found.weights > 0).all()


@every_backend
@every_structure
def test_gradient(backend, structure, rng):
    """Of the cost and the ridge, whose masses are those of the first vector."""
    around = objective_on(blobs(), structure, backend=backend).near(
        random_mixture(rng, structure)
    )
    around.evaluate(around.origin)
    vector = around.origin + 0.1 * rng.uniform(size=len(around.origin))
    slopes = approx_fprime(vector, lambda v: around.evaluate(v).value, 1e-7)
    found = around.evaluate(vector)
    assert_allclose(found.gradient, slopes, rtol=1e-4, atol=1e-5)
    assert found.value > found.cost > -found.log_likelihood


@every_structure
def test_gradient_vanishes_where_em_converges(structure):
    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        sparsity=1.0,
        reg_covar=0.1,
        moves=False,
        tol=1e-15,
        max_iter=5000,
        random_state=0,
    ).fit(blobs())
    assert model.converged_
    assert model.n_components_ == 3
    centre = mixture(model.weights_, model.means_, structure, model.covariances_)
    around = objective_on(blobs(), structure).near(centre)
    assert_allclose(around.evaluate(around.origin).gradient, 0, atol=1e-6)
    moved = around.evaluate(around.origin + 0.01)
    assert np.abs(moved.gradient).max() > 1e-3


@every_structure
def test_hessian_is_one_where_components_are_known(structure):
    """Far apart, the Hessian is the identity, whatever the units of the features.

    Except along one direction, the length of the roots of the weights, on which
    nothing depends.
    """
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0.0], [300.0, 0.0], [0.0, 900.0]])
    labels = np.repeat(np.arange(3), [100, 300, 600])
    noise = rng.normal(size=(1000, 2))
    X = means[labels] + noise
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, reg_covar=0, means_init=means
    ).fit(X)
    centre = mixture(model.weights_, model.means_, structure, model.covariances_)
    around = objective_on(X, structure, sparsity=0.0, reg_covar=0.0).near(centre)
    steps = 1e-3 * np.eye(len(around.origin))
    slopes = [
        around.evaluate(around.origin + s).gradient
        - around.evaluate(around.origin - s).gradient
        for s in steps
    ]
    hessian = np.array(slopes) / 2e-3
    expected = np.ones(len(hessian))
    expected[0] = 0.0
    assert_allclose(np.linalg.eigvalsh(hessian), expected, atol=1e-5)
