"""Fitting: what scikit-learn's GaussianMixture does, and what the sparsity adds."""

import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.common import (
    IS_NEW,
    SOLVERS,
    blobs,
    every_backend,
    iris,
    mixture_of,
    spiral,
    start,
    wine,
)
from tests.reference import COVARIANCE_TYPES, STRUCTURES

STARTS = ["kmeans", "k-means++", "random", "random_from_data"]

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def assert_close(found, expected, rtol=1e-6):
    """Compare arrays relative to the largest entry."""
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


def assert_same_fit(model, peer, X):
    """Hold a fitted model to scikit-learn's, attribute by attribute."""
    # Older versions lose digits of variances to cancellation.
    rtol = 1e-6 if IS_NEW else 1e-5
    assert model.n_iter_ == peer.n_iter_
    assert model.converged_ == peer.converged_
    names = ["weights_", "means_", "covariances_", "precisions_"]
    for name in [*names, "precisions_cholesky_"]:
        assert_close(getattr(model, name), getattr(peer, name), rtol)
    if IS_NEW:
        assert_close(model.lower_bounds_, peer.lower_bounds_)
    assert model.lower_bound_ == pytest.approx(peer.lower_bound_, rel=rtol)
    assert_close(model.score_samples(X), peer.score_samples(X), rtol)
    assert_allclose(model.predict_proba(X), peer.predict_proba(X), rtol=0, atol=rtol)
    assert_array_equal(model.predict(X), peer.predict(X))
    assert model.score(X) == pytest.approx(peer.score(X), rel=rtol)
    assert model.aic(X) == pytest.approx(peer.aic(X), rel=rtol)
    assert model.bic(X) == pytest.approx(peer.bic(X), rel=rtol)


@every_structure
@pytest.mark.parametrize("data", [iris, wine, blobs])
def test_parity_from_a_given_start(structure, data):
    X = data()
    given = start(X, structure, 3, scale=2.0)
    model = KeOpsGaussianMixture(**given, backend="torch").fit(X)
    assert_same_fit(model, GaussianMixture(**given).fit(X), X)


@pytest.mark.slow
@every_structure
def test_parity_on_keops(structure):
    X = blobs()
    given = start(X, structure, 3, scale=2.0)
    model = KeOpsGaussianMixture(**given, backend="keops").fit(X)
    assert_same_fit(model, GaussianMixture(**given).fit(X), X)


@every_structure
@pytest.mark.parametrize(("data", "n_init"), [(iris, 1), (wine, 1), (iris, 3)])
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.fast(24)
def test_parity_from_a_seed(structure, data, init_params, n_init):
    X = data()
    given = {
        "n_components": 3,
        "covariance_type": structure,
        "init_params": init_params,
        "n_init": n_init,
        "random_state": 1,
    }
    model = KeOpsGaussianMixture(**given).fit(X)
    assert_same_fit(model, GaussianMixture(**given).fit(X), X)


@every_structure
@pytest.mark.parametrize("missing", ["weights_init", "means_init", "precisions_init"])
def test_parity_from_half_a_start(structure, missing):
    X = iris()
    given = start(X, structure, 3) | {missing: None, "random_state": 0}
    model = KeOpsGaussianMixture(**given).fit(X)
    assert_same_fit(model, GaussianMixture(**given).fit(X), X)


def fit_without_warning(model, X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(X)


@every_structure
def test_max_iter_zero_is_scikit_learns_start(structure):
    X = iris()
    given = {"covariance_type": structure, "max_iter": 0, "random_state": 0}
    model = fit_without_warning(KeOpsGaussianMixture(3, **given), X)
    peer = GaussianMixture(3, **given).fit(X)
    assert (model.n_iter_, model.converged_) == (0, False)
    assert model.lower_bound_ == peer.lower_bound_ == -np.inf
    assert len(model.lower_bounds_) == len(model.costs_) == 0
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert_close(getattr(model, name), getattr(peer, name), 1e-9)
    assert model.cost_ == pytest.approx(-peer.score(X), rel=1e-9)


@every_solver
@every_covariance_type
def test_max_iter_zero_keeps_a_given_start(solver, structure):
    given = start(iris(), structure, 3, scale=2.0)
    model = KeOpsGaussianMixture(**given, solver=solver, max_iter=0)
    fit_without_warning(model, iris())
    assert_close(model.weights_, given["weights_init"], 1e-15)
    assert_close(model.means_, given["means_init"], 1e-15)
    assert_close(model.precisions_, given["precisions_init"], 1e-15)
    expected = reference.penalised_cost(
        iris(), structure, mixture_of(model), sparsity=0, n_components=3
    )
    assert model.cost_ == pytest.approx(expected, rel=1e-12)


@every_backend
@every_solver
@every_covariance_type
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.fast(18)
def test_attributes(backend, solver, structure, dtype):
    """Every fitted attribute is numpy, of the shape of what is alive."""
    X = blobs().astype(dtype)
    given = {"solver": solver, "sparsity": 0.5, "max_iter": 15, "random_state": 0}
    model = KeOpsGaussianMixture(3, covariance_type=structure, backend=backend, **given)
    assert model.fit(X) is model
    alive = model.n_components_
    assert 1 <= alive <= model.n_components == 3
    shape = {
        "full": (alive, 2, 2),
        "tied": (2, 2),
        "diag": (alive, 2),
        "spherical": (alive,),
        "tied_diag": (2,),
        "tied_spherical": (1,),
    }[structure]
    shapes = {
        "weights_": (alive,),
        "means_": (alive, 2),
        "covariances_": shape,
        "precisions_": shape,
        "precisions_cholesky_": shape,
    }
    for name, expected in shapes.items():
        value = getattr(model, name)
        assert type(value) is np.ndarray
        assert value.shape == expected
        assert value.dtype == dtype
    assert isinstance(model.n_components_, int)
    assert isinstance(model.n_iter_, int)
    assert isinstance(model.converged_, bool)
    assert isinstance(model.lower_bound_, float)
    assert isinstance(model.cost_, float)
    assert len(model.costs_) == len(model.lower_bounds_) == model.n_iter_
    assert model.n_features_in_ == 2
    assert model.score_samples(X).shape == (len(X),)
    assert model.score_samples(X).dtype == dtype
    assert model.predict_proba(X).shape == (len(X), alive)
    assert model.predict_proba(X).dtype == dtype
    assert model.predict(X).dtype == np.int64
    assert type(model.predict(X)) is np.ndarray


@every_solver
@every_covariance_type
@pytest.mark.fast(6)
def test_attributes_agree_with_each_other(solver, structure):
    X = iris()
    given = {"covariance_type": structure, "solver": solver, "random_state": 0}
    model = KeOpsGaussianMixture(4, max_iter=30, sparsity=1.0, **given).fit(X)
    cholesky = reference.as_matrices(
        structure, model.precisions_cholesky_, model.means_
    )
    precisions = reference.as_matrices(structure, model.precisions_, model.means_)
    covariances = reference.as_matrices(structure, model.covariances_, model.means_)
    identities = np.tile(np.eye(4), (len(model.means_), 1, 1))
    assert_allclose(covariances @ precisions, identities, atol=1e-8)
    assert_allclose(cholesky @ np.swapaxes(cholesky, 1, 2), precisions, rtol=1e-9)
    assert_array_equal(np.tril(cholesky, -1), 0)
    assert (np.diagonal(cholesky, axis1=1, axis2=2) > 0).all()
    assert model.weights_.sum() == pytest.approx(1, abs=1e-12)
    assert (model.weights_ > 0).all()


@every_backend
@every_solver
@every_covariance_type
@pytest.mark.parametrize("sparsity", [0.0, 20.0])
@pytest.mark.fast(18)
def test_cost_is_the_penalised_cost(backend, solver, structure, sparsity):
    """M in s / M stays `n_components` as given, however few are alive."""
    X = spiral(200)
    model = KeOpsGaussianMixture(
        12,
        covariance_type=structure,
        sparsity=sparsity,
        solver=solver,
        learning_rate=0.1,
        max_iter=40,
        backend=backend,
        random_state=0,
    ).fit(X)
    assert model.n_components_ == 12 or sparsity == 20
    assert model.n_components_ < 12 or sparsity == 0 or solver == "adam"
    expected = reference.penalised_cost(
        X, structure, mixture_of(model), sparsity=sparsity, n_components=12
    )
    assert model.cost_ == pytest.approx(expected, rel=1e-9)
    penalties = np.array(model.costs_) + np.array(model.lower_bounds_)
    assert (penalties >= -1e-12).all()
    assert (penalties <= sparsity / np.sqrt(12) + 1e-12).all()
    assert model.lower_bound_ == model.lower_bounds_[-1]


@every_solver
def test_cost_at_every_iteration(solver):
    """costs_[k] belongs to the parameters that iteration k + 1 starts from."""
    X = spiral()
    given = start(X, "full", 5, scale=100.0) | {"solver": solver, "sparsity": 2.0}
    given |= {"learning_rate": 0.01, "tol": 0.0, "moves": False}
    whole = KeOpsGaussianMixture(**given, max_iter=6).fit(X)
    for k in range(6):
        part = KeOpsGaussianMixture(**given, max_iter=k).fit(X)
        assert part.cost_ == pytest.approx(whole.costs_[k], rel=1e-9)
        assert part.score(X) == pytest.approx(whole.lower_bounds_[k], rel=1e-9)


def test_sparsity_decides_how_many_components_live():
    X = blobs()
    counts = [
        KeOpsGaussianMixture(
            10, sparsity=sparsity, max_iter=500, tol=1e-6, random_state=0
        )
        .fit(X)
        .n_components_
        for sparsity in (0.0, 5.0, 1000.0)
    ]
    assert counts[0] == 10 > counts[1] > counts[2] >= 1


@every_backend
@every_covariance_type
def test_penalised_step(backend, structure):
    """One EM step with a prior: the reference's moments, weights of lower cost."""
    X = blobs()
    given = start(X, structure, 4, scale=0.5) | {"sparsity": 3.0, "max_iter": 1}
    given["moves"] = False
    model = KeOpsGaussianMixture(**given, backend=backend).fit(X)
    before = KeOpsGaussianMixture(**given | {"max_iter": 0}).fit(X)
    step = reference.em_step(X, structure, mixture_of(before), reg_covar=1e-6)
    assert_close(model.means_, step.means, 1e-9)
    assert_close(model.covariances_, step.covariances, 1e-9)

    def bound(weights):
        return -step.weights @ np.log(weights) + 3.0 / 4 * np.sqrt(weights).sum()

    tangent = reference.tangent_weights(step.weights, before.weights_, 3.0 / 4)
    assert bound(model.weights_) <= bound(tangent) + 1e-12
    assert_close(
        model.weights_,
        reference.tangent_weights(step.weights, model.weights_, 3.0 / 4),
        0.05,
    )


def test_fit_predict_is_predict():
    X = iris()
    model = KeOpsGaussianMixture(3, random_state=0, max_iter=3)
    assert_array_equal(model.fit_predict(X), model.predict(X))
    peer = GaussianMixture(3, random_state=0, max_iter=3)
    assert_array_equal(model.predict(X), peer.fit_predict(X))


def test_same_seed_same_fit():
    fits = [
        KeOpsGaussianMixture(3, init_params="random", random_state=5).fit(iris())
        for _ in range(2)
    ]
    for name in ("weights_", "means_", "covariances_", "lower_bounds_", "costs_"):
        assert_array_equal(getattr(fits[0], name), getattr(fits[1], name))


@pytest.mark.parametrize("sparsity", [0.0, 4.0])
@pytest.mark.slow
def test_n_init_keeps_the_lowest_cost(sparsity):
    X = spiral()
    given = {"init_params": "random_from_data", "sparsity": sparsity}
    stream = np.random.RandomState(3)
    single = [
        KeOpsGaussianMixture(6, random_state=stream, **given).fit(X) for _ in range(4)
    ]
    best = min(single, key=lambda model: model.costs_[-1])
    model = KeOpsGaussianMixture(6, random_state=3, n_init=4, **given).fit(X)
    assert len({one.n_iter_ for one in single}) > 1
    assert_close(model.means_, best.means_, 1e-9)
    assert_close(model.costs_, best.costs_, 1e-9)
    assert model.n_iter_ == best.n_iter_


def test_warm_start_is_scikit_learns():
    X = iris()
    given = {"n_components": 3, "init_params": "random", "random_state": 4}
    given |= {"warm_start": True, "max_iter": 2, "tol": 1e-4}
    model, peer = KeOpsGaussianMixture(**given), GaussianMixture(**given)
    for _ in range(4):
        assert_same_fit(model.fit(X), peer.fit(X), X)


def test_warm_start_goes_on_with_what_is_alive():
    X = blobs()
    given = {"sparsity": 200.0, "random_state": 0, "warm_start": True}
    model = KeOpsGaussianMixture(8, max_iter=300, **given).fit(X)
    alive, cost = model.n_components_, model.cost_
    assert alive < 8
    model.fit(X)
    assert model.n_components_ <= alive
    assert model.costs_[0] == pytest.approx(cost, rel=1e-9)
    expected = reference.penalised_cost(
        X, "full", mixture_of(model), sparsity=200.0, n_components=8
    )
    assert model.cost_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("max_iter", [0, 2, 100])
def test_verbose_prints_what_scikit_learn_prints(verbose, max_iter, capsys):
    given = {"n_components": 2, "n_init": 2, "random_state": 0, "max_iter": max_iter}
    given |= {"verbose": verbose, "verbose_interval": 3}
    printed = []
    for kind in (GaussianMixture, KeOpsGaussianMixture):
        kind(**given).fit(iris())
        printed.append(re.sub(r"time lapse [\d.]+s", "", capsys.readouterr().out))
    assert printed[0] == printed[1] != ""


@every_solver
def test_silent_by_default(solver, capfd):
    KeOpsGaussianMixture(2, solver=solver, max_iter=2).fit(iris())
    assert tuple(capfd.readouterr()) == ("", "")


@every_solver
def test_warns_when_not_converged(solver):
    text = "Best performing initialization did not converge"
    with pytest.warns(ConvergenceWarning, match=text) as record:
        KeOpsGaussianMixture(3, solver=solver, max_iter=1, random_state=0).fit(iris())
    assert record[0].filename == __file__


@every_backend
@every_structure
@pytest.mark.parametrize("kind", ["list", "fortran", "strided", "read-only", "int"])
def test_containers_of_numbers(backend, structure, kind):
    X = np.round(blobs() * 8)
    made = {
        "list": X.tolist(),
        "fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=0)[::2],
        "read-only": X.copy(),
        "int": X.astype(np.int32),
    }[kind]
    if kind == "read-only":
        made.flags.writeable = False
    given = start(X, structure, 3) | {"max_iter": 5, "backend": backend}
    plain = KeOpsGaussianMixture(**given).fit(X)
    model = KeOpsGaussianMixture(**given).fit(made)
    assert_close(model.means_, plain.means_, 1e-12)
    assert_close(model.score_samples(made), plain.score_samples(X), 1e-12)
