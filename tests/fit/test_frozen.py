"""Fits that leave some parameters as they are."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_keops_gmm import KeOpsGaussianMixture, sparsity_path
from tests import reference
from tests.common import blobs, every_backend, mixture_of
from tests.reference import COVARIANCE_TYPES, Mixture

X = blobs(150) * [0.4, 1.0]
NAMES = ("weights", "means", "covariances")
FREEZABLE = [*((name,) for name in NAMES), NAMES[1:], NAMES]
SOLVERS = {
    "em": {},
    "squarem": {"acceleration": "squarem"},
    "lbfgs": {"solver": "lbfgs"},
    "pooled": {"covariance_pooling": 3.0},
}
every_solver = pytest.mark.parametrize("solver", SOLVERS)
every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
ATTRIBUTES = {
    "weights": ("weights_",),
    "means": ("means_",),
    "covariances": ("covariances_", "precisions_", "precisions_cholesky_"),
}


def known(structure="full", **how):
    """A mixture that is not the best one of the samples, to start from."""
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, random_state=0, max_iter=100
    ).fit(blobs(60)[::2] * [0.4, 1.0])
    given = model.weights_, model.means_, model.covariances_, structure
    settings = {"warm_start": True, "max_iter": 30, "tol": 0.0} | how
    return KeOpsGaussianMixture.from_parameters(*given, **settings)


@every_covariance_type
@every_solver
@pytest.mark.parametrize("names", FREEZABLE, ids=str)
@pytest.mark.fast(24)
def test_what_is_frozen_stays_bit_for_bit(structure, solver, names):
    before = known(structure)
    model = known(structure, frozen=names, **SOLVERS[solver]).fit(X)
    for name in NAMES:
        for attribute in ATTRIBUTES[name]:
            own, other = getattr(model, attribute), getattr(before, attribute)
            assert np.array_equal(own, other) == (name in names), attribute
    assert model.weights_.sum() == pytest.approx(1.0, abs=1e-9)
    if names != NAMES:
        assert model.score(X) > before.score(X)


@every_covariance_type
@every_solver
def test_masks_of_components(structure, solver):
    masks = {"weights": [True, False, False], "means": [False, True, True]}
    shared = structure.startswith("tied")
    masks["covariances"] = shared or [False, False, True]
    before = known(structure)
    model = known(structure, frozen=masks, **SOLVERS[solver]).fit(X)
    assert model.weights_[0] == before.weights_[0]
    assert model.weights_[1] != before.weights_[1]
    assert model.weights_.sum() == pytest.approx(1.0, abs=1e-9)
    assert_array_equal(model.means_[1:], before.means_[1:])
    assert not np.array_equal(model.means_[0], before.means_[0])
    for name in ATTRIBUTES["covariances"]:
        own, other = getattr(model, name), getattr(before, name)
        stay = np.isclose(own, other, rtol=1e-13, atol=0).reshape(len(own), -1)
        exact = (own == other).reshape(len(own), -1)
        assert exact.all() if shared else exact[2].all() and not stay[:2].all()


def dense_step(structure, mixture, known, names):
    _, offsets, means, factors = reference.components_of(structure, mixture)
    matrices = reference.as_matrices(structure, factors, means)
    sums = reference.moments(X, None, "full", offsets, means, matrices)
    if "means" in names:
        sums = sums._replace(first=np.zeros_like(sums.first))
    found = reference.m_step(structure, sums, means, 1e-6)
    return Mixture(
        *(getattr(known if name in names else found, name) for name in Mixture._fields)
    )


@every_backend
@pytest.mark.parametrize("structure", ["full", "tied", "diag"])
@pytest.mark.parametrize("names", FREEZABLE[:-1], ids=str)
def test_steps_of_the_rest(backend, structure, names):
    """Covariances are about means that stay, and have the ridge."""
    model = known(structure, frozen=names, max_iter=5, backend=backend)
    start = found = mixture_of(model)
    model.fit(X)
    for _ in range(5):
        found = dense_step(structure, found, start, names)
    for name, array in found._asdict().items():
        assert_allclose(getattr(model, f"{name}_"), array, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("names", FREEZABLE[:-1], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_solvers_end_alike(names, masked):
    frozen = {name: [True, False, False] for name in names} if masked else names
    rest = {"frozen": frozen, "tol": 1e-12, "max_iter": 4000, "reg_covar": 1e-3}
    em, lbfgs = (known(**rest, **SOLVERS[name]).fit(X) for name in ("em", "lbfgs"))
    assert em.converged_
    assert lbfgs.converged_
    assert_allclose(lbfgs.means_, em.means_, atol=1e-4)
    assert_allclose(lbfgs.weights_, em.weights_, atol=1e-4)
    assert_allclose(lbfgs.covariances_, em.covariances_, atol=1e-4)


def test_from_initial_arrays():
    before = known()
    start = {
        "weights_init": before.weights_,
        "means_init": before.means_,
        "precisions_init": before.precisions_,
    }
    model = KeOpsGaussianMixture(3, **start, frozen=["means", "covariances"])
    model.fit(X)
    assert_array_equal(model.means_, before.means_)
    assert_allclose(model.precisions_, before.precisions_, rtol=1e-12)
    untouched = clone(model).set_params(max_iter=0).fit(X)
    assert_array_equal(model.precisions_cholesky_, untouched.precisions_cholesky_)


def test_one_more_component_beside_known_ones():
    """Two known ones stay, and a third is found in what they do not explain."""
    points = blobs(300)
    full = KeOpsGaussianMixture(3, random_state=0).fit(points)
    means = full.means_.copy()
    means[2] = points.mean(0)
    mask = np.array([True, True, False])
    model = KeOpsGaussianMixture.from_parameters(
        full.weights_,
        means,
        full.covariances_,
        frozen={"means": mask, "covariances": mask},
        warm_start=True,
    ).fit(points)
    assert_allclose(model.means_[2], full.means_[2], atol=0.05)


def test_other_ways_to_learn():
    model = known(frozen=("means",), max_iter=20)
    old = model.means_.copy()
    for part in ([X[:70], X[70:]], da.from_array(X)):
        assert_array_equal(model.fit(part).means_, old)
    model.partial_fit(X[:50]).partial_fit(X[50:])
    assert_array_equal(model.means_, old)
    labels = np.where(np.arange(150) < 20, 1, -1)
    assert_array_equal(model.fit(X, component_labels=labels).means_, old)
    assert model.marginal([0]).frozen is None
    assert len(model.bootstrap(X, 3, random_state=0).means) == 3


FIRST_COVARIANCE = {
    "frozen": {"covariances": [True, False, False]},
    "covariance_type": "tied",
}
ALL_WEIGHT = {
    "frozen": {"weights": [True, True, False]},
    "weights_init": [0.5, 0.5, 0.0],
}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"frozen": ("scales",)}, "frozen names 'scales'.*'covariances'"),
        ({"frozen": {"means": [True]}}, r"frozen\['means'\].*each of the 3"),
        ({"frozen": {"means": [0, 1, 2]}}, r"boolean for each.*\[0, 1, 2\]"),
        ({"frozen": "means"}, "'frozen' parameter.*'list'"),
        ({"frozen": ("means",)}, "keeps means.*means_init=None.*warm_start"),
        ({"frozen": ("covariances",)}, "precisions_init=None"),
        ({"frozen": ("means",), "sparsity": 1.0}, "frozen.*Use sparsity=0"),
        ({"frozen": ("means",), "noise": "uniform"}, "without noise.*noise=None"),
        ({"frozen": ("means",), "moves": True}, "Use moves=False"),
        ({"frozen": ("means",), "moves": np.True_}, "Use moves=False"),
        ({"frozen": ("means",), "init_params": "merge"}, "init_params='merge'"),
        ({"frozen": ("means",), "solver": "adam"}, "solver='adam'.*frozen=None"),
        (FIRST_COVARIANCE, "share one with covariance_type='tied'"),
        (ALL_WEIGHT, "sum to 1, which leaves nothing"),
    ],
)
def test_errors(how, message):
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3, **how).fit(X)


def test_no_frozen_paths_or_lost_components():
    with pytest.raises(ValueError, match="takes no 'frozen'"):
        sparsity_path(X, 3, frozen=("means",), means_init=X[:3])
    model = KeOpsGaussianMixture(8, sparsity=20.0, random_state=0).fit(X)
    model.set_params(sparsity=0.0, frozen=("means",), warm_start=True)
    with pytest.raises(ValueError, match=r"n_components=8.*continues has"):
        model.fit(X)
