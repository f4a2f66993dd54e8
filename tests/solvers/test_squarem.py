"""EM with leaps: the optimum of EM in fewer passes, and never a rise of the cost."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._fit._objective import MixtureObjective
from tests.common import blobs, spiral, start
from tests.reference import COVARIANCE_TYPES


def overlapping(n_samples=1500):
    """Three Gaussians so near to each other that EM crawls."""
    rng = np.random.default_rng(0)
    centres = np.array([0.0, 1.5, 3.0])[np.arange(n_samples) % 3]
    return centres[:, None] + rng.normal(size=(n_samples, 2))


@pytest.fixture
def passes(monkeypatch):
    """The costs of all mixtures that are evaluated, in a list."""
    moments, seen = MixtureObjective.moments, []

    def spy(self, parameters):
        found = moments(self, parameters)
        seen.append(self.penalty(parameters) - self.log_likelihood(found))
        return found

    monkeypatch.setattr(MixtureObjective, "moments", spy)
    return seen


def fit(X, n_components=3, acceleration="squarem", **given):
    given = {"random_state": 0, "moves": False} | given
    model = KeOpsGaussianMixture(n_components, acceleration=acceleration, **given)
    return model.fit(X)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("sparsity", [0.0, 2.0])
@pytest.mark.fast(4)
def test_cost_never_rises(structure, sparsity):
    given = {"sparsity": sparsity, "covariance_type": structure, "reg_covar": 0}
    model = fit(overlapping(), 5, **given, tol=1e-9, max_iter=200)
    costs = [*model.costs_, model.cost_]
    assert np.diff(costs).max() < 1e-12
    assert len(model.costs_) == len(model.lower_bounds_) == model.n_iter_


def test_fewer_passes_to_the_same_cost(passes):
    X = overlapping()
    plain = fit(X, acceleration=None, tol=1e-8, max_iter=5000)
    expected = len(passes)
    assert expected > 200
    passes.clear()
    fit(X, tol=0.0, max_iter=expected // 2)
    assert min(passes) <= plain.costs_[-1]


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_same_optimum(structure):
    given = {"covariance_type": structure, "tol": 1e-12, "max_iter": 2000}
    plain = fit(blobs(), acceleration=None, **given)
    model = fit(blobs(), **given)
    assert model.converged_
    assert model.cost_ == pytest.approx(plain.cost_, abs=1e-10)
    assert_allclose(model.means_, plain.means_, atol=1e-4)


def test_leaps_fail_and_nothing_is_lost(passes):
    """Every evaluation counts in max_iter, those that were no better not in costs_."""
    model = fit(overlapping(), tol=0.0, max_iter=120)
    tried = passes[:-1]  # the last is that of the attributes
    assert len(tried) == 120
    assert model.n_iter_ < 120
    assert [cost for cost in tried if cost in model.costs_] == model.costs_


@pytest.mark.parametrize("max_iter", range(1, 12))
def test_end_at_any_step(max_iter):
    """A leap that was not looked at yet is not what a fit returns."""
    model = fit(overlapping(), tol=0.0, max_iter=max_iter)
    assert model.cost_ <= model.costs_[-1] + 1e-12


def test_first_steps_are_those_of_em():
    X = blobs()
    given = start(X, "full", 3) | {"tol": 0.0, "max_iter": 2}
    plain, model = fit(X, acceleration=None, **given), fit(X, **given)
    assert_allclose(model.means_, plain.means_, rtol=1e-12)
    assert_allclose(model.costs_, plain.costs_, rtol=1e-12)


def test_converges_at_once_where_em_does():
    X = blobs()
    settled = fit(X, tol=1e-10, max_iter=1000)
    again = fit(
        X,
        weights_init=settled.weights_,
        means_init=settled.means_,
        precisions_init=settled.precisions_,
    )
    assert again.converged_
    assert again.n_iter_ == 2


@pytest.mark.slow
def test_with_moves():
    given = {"sparsity": 20.0, "reg_covar": 1e-5, "moves": True, "tol": 1e-6}
    plain = fit(spiral(), 10, acceleration=None, **given)
    model = fit(spiral(), 10, **given)
    assert model.n_components_ == plain.n_components_
    assert model.cost_ == pytest.approx(plain.cost_, abs=1e-3)


def test_float32_and_weights():
    X = overlapping().astype(np.float32)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    model = KeOpsGaussianMixture(
        3, acceleration="squarem", tol=1e-5, max_iter=300, random_state=0
    ).fit(X, sample_weight=weights)
    assert model.converged_
    assert model.means_.dtype == np.float32
    assert np.diff(model.costs_).max() < 1e-5
