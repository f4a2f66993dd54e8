"""A prior that is a value works with every solver, EM among them."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import SOLVERS, blobs, every_backend
from tests.extending.priors import DirichletPrior
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def fitted(strength=0.2, **how):
    """A mixture under the prior."""
    settings = {"tol": 1e-10, "max_iter": 2000, "reg_covar": 0.0, "random_state": 0}
    prior = DirichletPrior(strength)
    return KeOpsGaussianMixture(3, prior=prior, **settings | how).fit(blobs())


@every_backend
@every_structure
def test_em_never_raises_the_cost(backend, structure):
    model = fitted(backend=backend, covariance_type=structure)
    assert (np.diff(model.costs_) <= 1e-12).all()
    penalty = -0.2 * np.log(model.weights_).sum()
    assert model.cost_ == pytest.approx(penalty - model.score(blobs()), abs=1e-9)


def test_solvers_end_alike():
    em = fitted()
    assert np.ptp(em.weights_) < np.ptp(fitted(0.0).weights_)
    for how in ({"acceleration": "squarem"}, {"solver": "lbfgs"}):
        model = fitted(**how)
        assert model.cost_ == pytest.approx(em.cost_, abs=1e-7)
        assert_allclose(model.weights_, em.weights_, atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_with_pooled_covariances(solver):
    model = fitted(solver=solver, covariance_pooling=5.0, max_iter=100, tol=1e-6)
    assert model.covariance_pooling_ == 5.0
    assert model.cost_ > -model.score(blobs())


def test_two_prices_of_weights():
    """EM has no step for both; what knows only values and gradients needs none."""
    with pytest.raises(ValueError, match=r"^prior=.*sparsity=2\.0.*Use sparsity=0"):
        fitted(sparsity=2.0)
    model = fitted(sparsity=2.0, solver="lbfgs")
    weights = model.weights_
    penalty = 2.0 / 3 * np.sqrt(weights).sum() - 0.2 * np.log(weights).sum()
    assert model.cost_ == pytest.approx(penalty - model.score(blobs()), abs=1e-9)


def test_it_is_kept_as_given():
    model = fitted()
    assert clone(model).prior.strength == 0.2
    again = pickle.loads(pickle.dumps(model))
    assert again.prior.strength == 0.2
    assert_allclose(again.score(blobs()), model.score(blobs()))
