"""Other devices than the CPU give what the CPU gives."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from tests.common import SOLVERS, blobs, spiral, start
from tests.elsewhere import device_called, skip_where_it_cannot
from tests.reference import COVARIANCE_TYPES
from tests.test_mixture import assert_close

BACKENDS = ["torch", pytest.param("keops", marks=pytest.mark.slow)]
ATTRIBUTES = ("weights_", "means_", "covariances_", "costs_")

every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_solver = pytest.mark.parametrize("solver", SOLVERS)


@pytest.fixture(params=["elsewhere", "cuda"])
def device(request):
    """Each device that is not the CPU, and on which the backend computes."""
    with device_called(request.param) as found:
        skip_where_it_cannot(request.node.callspec.params.get("backend"), found)
        yield found.type


def assert_same_fit(there, here):
    """Compare what was fitted, to the digits that other sums leave."""
    for name in ATTRIBUTES:
        found = getattr(there, name)
        assert isinstance(found, np.ndarray | list)
        assert_close(found, getattr(here, name), 1e-8)


@every_backend
@every_solver
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.slow
def test_fits(backend, solver, structure, device):
    X = blobs()
    weights = np.linspace(0.5, 1.5, len(X))
    given = start(X, structure, 3) | {"solver": solver, "max_iter": 10}
    given |= {"backend": backend, "sparsity": 1.0, "moves": False, "random_state": 0}
    here = KeOpsGaussianMixture(**given, device="cpu").fit(X, sample_weight=weights)
    there = KeOpsGaussianMixture(**given, device=device).fit(X, sample_weight=weights)
    assert_same_fit(there, here)
    for method in ("score_samples", "predict_proba"):
        assert_close(getattr(there, method)(X), getattr(here, method)(X), 1e-8)
    assert_array_equal(there.predict(X), here.predict(X))
    assert_array_equal(there.sample(5)[1], here.sample(5)[1])
    assert there.bic(X) == pytest.approx(here.bic(X), rel=1e-8)
    some = X[:, :1]
    assert_close(
        there.conditional_mean([0], some), here.conditional_mean([0], some), 1e-8
    )
    assert_close(
        there.marginal([1]).score_samples(some), here.marginal([1]).score_samples(some)
    )


def near_the_origin(weights, means, precisions_cholesky):
    return 0.1 * (means**2).sum()


@pytest.mark.parametrize(
    "parameters",
    [
        {"init_params": "kmeans"},
        {"init_params": "k-means++", "init_size": 100},
        {"init_params": "random"},
        {"init_params": "random_from_data"},
        {"acceleration": "squarem"},
        {"solver": "adam", "batch_size": 200},
        {"solver": "lbfgs", "prior": near_the_origin},
        {"reg_covar": 0.0},
        {"warm_start": True},
    ],
    ids="-".join,
)
@pytest.mark.slow
def test_what_fits_may_be_asked(parameters, device):
    given = {"n_components": 3, "backend": "torch", "random_state": 0, "max_iter": 10}
    given |= parameters
    here = KeOpsGaussianMixture(**given, device="cpu").fit(blobs())
    there = KeOpsGaussianMixture(**given, device=device).fit(blobs())
    assert_same_fit(there, here)
    assert_same_fit(there.fit(blobs()), here.fit(blobs()))


@pytest.mark.slow
def test_moves(device):
    """Mergers, drops and splits, until nothing pays."""
    given = {"n_components": 8, "sparsity": 20.0, "reg_covar": 1e-4}
    given |= {"backend": "torch", "random_state": 0}
    here = KeOpsGaussianMixture(**given, device="cpu").fit(spiral())
    there = KeOpsGaussianMixture(**given, device=device).fit(spiral())
    assert there.n_components_ == here.n_components_ < 8
    assert there.cost_ == pytest.approx(here.cost_, rel=1e-6)


def test_pieces_and_batches(device):
    pieces = [blobs()[:150], blobs()[150:]]
    given = {"n_components": 3, "backend": "torch", "random_state": 0}
    here = KeOpsGaussianMixture(**given, device="cpu").fit(pieces)
    there = KeOpsGaussianMixture(**given, device=device).fit(pieces)
    assert_same_fit(there, here)
    assert_array_equal(there.predict(pieces), here.predict(pieces))
    for piece in pieces:
        here, there = here.partial_fit(piece), there.partial_fit(piece)
    assert_close(there.means_, here.means_, 1e-8)


@pytest.mark.parametrize("criterion", ["lic", "cv"])
@pytest.mark.slow
def test_numbers_of_components(criterion, device):
    given = {"n_components": 4, "criterion": criterion, "cv": 2}
    given |= {"backend": "torch", "random_state": 0}
    there = KeOpsGaussianMixtureCV(**given, device=device).fit(blobs())
    assert there.n_components_ == 3
    assert_array_equal(
        there.predict(blobs()),
        KeOpsGaussianMixtureCV(**given, device="cpu").fit(blobs()).predict(blobs()),
    )


@pytest.mark.slow
def test_paths(device):
    given = {"n_components": 4, "backend": "torch", "random_state": 0}
    here = sparsity_path(blobs(), **given, device="cpu")
    there = sparsity_path(blobs(), **given, device=device)
    assert_array_equal(there.n_components, here.n_components)
    # Some members cost least at no sparsity: their costs are NaN.
    assert_allclose(there.costs, here.costs, rtol=1e-6)
