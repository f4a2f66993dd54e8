"""L-BFGS: the fixed points of EM, in fewer steps, in any units."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.common import blobs, every_backend, iris, mixture_of, spiral, start
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


@every_backend
@every_structure
@pytest.mark.parametrize(
    ("sparsity", "reg_covar"), [(0.0, 1e-6), (1.0, 0.0), (1.0, 0.1)]
)
@pytest.mark.fast(12)
def test_ends_where_em_ends(backend, structure, sparsity, reg_covar):
    """Where both are in one basin: then to the same mixture, with reg_covar too."""
    given = {"covariance_type": structure, "random_state": 0, "tol": 1e-12}
    given |= {"sparsity": sparsity, "reg_covar": reg_covar, "max_iter": 3000}
    em = KeOpsGaussianMixture(3, moves=False, **given).fit(blobs())
    model = KeOpsGaussianMixture(3, solver="lbfgs", backend=backend, **given)
    model.fit(blobs())
    assert model.converged_
    assert model.n_components_ == 3
    assert_allclose(model.weights_, em.weights_, atol=1e-5)
    assert_allclose(model.means_, em.means_, atol=1e-4)
    assert_allclose(model.covariances_, em.covariances_, atol=1e-4)
    assert model.cost_ == pytest.approx(em.cost_, abs=1e-6)


@every_structure
@pytest.mark.parametrize("sparsity", [0.0, 5.0])
def test_cost_never_rises(structure, sparsity):
    model = KeOpsGaussianMixture(
        8,
        covariance_type=structure,
        sparsity=sparsity,
        reg_covar=0,
        solver="lbfgs",
        tol=1e-5,
        max_iter=500,
        random_state=0,
    ).fit(spiral())
    costs = np.array([*model.costs_, model.cost_])
    assert (np.diff(costs) <= 1e-12 * np.maximum(1, np.abs(costs[1:]))).all()
    assert model.converged_
    assert len(model.costs_) == len(model.lower_bounds_) == model.n_iter_


@pytest.mark.parametrize("structure", ["full", "diag", "tied_spherical"])
def test_fewer_steps_than_em(structure):
    """Where components overlap and EM crawls."""
    given = {"covariance_type": structure, "random_state": 0, "tol": 1e-8}
    fits = [
        KeOpsGaussianMixture(6, solver=solver, max_iter=2000, **given).fit(spiral(2000))
        for solver in ("em", "lbfgs")
    ]
    assert fits[1].converged_
    assert fits[1].cost_ <= fits[0].cost_ + 1e-6
    assert fits[1].n_iter_ < fits[0].n_iter_ / 2.5


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "tied_diag"])
def test_units_do_not_matter(structure):
    """The same steps in any units of the features, from the same start."""
    X, units = iris(), np.array([1e4, 1.0, 1e-3, 10.0])
    given = start(X, structure, 3, scale=4.0) | {"solver": "lbfgs", "reg_covar": 0}
    plain = KeOpsGaussianMixture(**given, max_iter=30).fit(X)
    matrix = structure in ("full", "tied")
    squares = np.outer(units, units) if matrix else units**2
    given["means_init"] = given["means_init"] * units
    given["precisions_init"] = given["precisions_init"] / squares
    scaled = KeOpsGaussianMixture(**given, max_iter=30).fit(X * units)
    assert scaled.n_iter_ == plain.n_iter_
    shift = np.log(units).sum()
    assert_allclose(np.subtract(scaled.costs_, shift), plain.costs_, atol=1e-6)
    assert_allclose(scaled.covariances_ / squares, plain.covariances_, atol=1e-6)


def test_goes_on_from_a_solution_for_one_step():
    given = {"solver": "lbfgs", "random_state": 0, "warm_start": True, "tol": 1e-6}
    model = KeOpsGaussianMixture(3, **given).fit(blobs())
    cost = model.cost_
    model.fit(blobs())
    assert (model.n_iter_, model.converged_) == (1, True)
    assert model.cost_ == pytest.approx(cost, abs=1e-6)


def test_zero_tol_ends_where_no_step_helps():
    model = KeOpsGaussianMixture(
        3, solver="lbfgs", tol=0, max_iter=1000, random_state=0
    ).fit(blobs())
    assert model.converged_
    assert model.n_iter_ < 200


@pytest.mark.parametrize("max_iter", [1, 25])
def test_max_iter(max_iter):
    """Also where it falls into a later round."""
    model = KeOpsGaussianMixture(
        12, solver="lbfgs", sparsity=5.0, tol=0, max_iter=max_iter, random_state=0
    ).fit(spiral())
    assert (model.n_iter_, model.converged_) == (max_iter, False)


def test_dying_components_are_left_out_on_the_way():
    X = spiral()
    given = {"sparsity": 20.0, "tol": 1e-6, "random_state": 0, "max_iter": 1000}
    model = KeOpsGaussianMixture(20, solver="lbfgs", **given).fit(X)
    assert model.converged_
    assert 1 < model.n_components_ < 10
    assert (model.weights_ > 0.01).all()
    expected = reference.penalised_cost(
        X, "full", mixture_of(model), sparsity=20.0, n_components=20
    )
    assert model.cost_ == pytest.approx(expected, rel=1e-9)


@every_backend
@every_structure
def test_float32(backend, structure):
    given = start(blobs(), structure, 3) | {"solver": "lbfgs", "backend": backend}
    expected = KeOpsGaussianMixture(**given).fit(blobs())
    model = KeOpsGaussianMixture(**given).fit(blobs().astype(np.float32))
    assert model.means_.dtype == np.float32
    assert model.cost_ == pytest.approx(expected.cost_, abs=1e-3)
    assert_allclose(model.means_, expected.means_, atol=0.05)


def test_a_weight_of_zero():
    given = start(blobs(), "full", 3) | {"weights_init": [0.5, 0.5, 0.0]}
    model = KeOpsGaussianMixture(**given, solver="lbfgs").fit(blobs())
    assert np.isfinite(model.cost_)
    assert model.weights_.sum() == pytest.approx(1, abs=1e-12)


def test_sample_weight_counts_rows():
    X = blobs()
    counts = np.random.default_rng(0).integers(0, 4, size=len(X))
    given = start(X, "full", 3) | {"solver": "lbfgs", "tol": 1e-10}
    weighted = KeOpsGaussianMixture(**given).fit(X, sample_weight=counts)
    repeated = KeOpsGaussianMixture(**given).fit(np.repeat(X, counts, axis=0))
    assert_allclose(weighted.means_, repeated.means_, atol=1e-5)
    assert_allclose(weighted.covariances_, repeated.covariances_, atol=1e-5)
