"""A fitted mixture as a density: scores, labels, samples, criteria."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.common import (
    SOLVERS,
    every_backend,
    iris,
    mixture_of,
    precisions,
    spiral,
)
from tests.reference import COVARIANCE_TYPES, STRUCTURES

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)

ATTRIBUTES = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
)


@cache
def sparse_fit(structure="full", seed=0, backend="torch"):
    """A fit that has lost components, which everything after it must respect."""
    model = KeOpsGaussianMixture(
        8,
        covariance_type=structure,
        sparsity=10.0,
        moves=False,  # which leave one component of most structures
        max_iter=200,
        random_state=seed,
        backend=backend,
    ).fit(spiral())
    assert 1 < model.n_components_ < 8
    return model


def as_scikit_learn(model):
    """The same mixture in scikit-learn's class."""
    peer = GaussianMixture(
        model.n_components_,
        covariance_type=model.covariance_type,
        random_state=model.random_state,
    )
    for name in ATTRIBUTES:
        setattr(peer, name, getattr(model, name).copy())
    peer.n_features_in_ = model.n_features_in_
    return peer


@every_structure
def test_scores_of_a_sparse_fit_are_scikit_learns(structure):
    X = spiral()
    model = sparse_fit(structure)
    peer = as_scikit_learn(model)
    assert_allclose(model.score_samples(X), peer.score_samples(X), rtol=1e-9)
    assert_array_equal(model.predict(X), peer.predict(X))
    assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-9)
    assert model.score(X) == pytest.approx(peer.score(X), rel=1e-9)
    assert model.aic(X) == pytest.approx(peer.aic(X), rel=1e-9)
    assert model.bic(X) == pytest.approx(peer.bic(X), rel=1e-9)


def test_score_has_no_prior():
    X = spiral()
    model = sparse_fit()
    expected = reference.mean_log_likelihood(X, "full", mixture_of(model))
    assert model.score(X) == pytest.approx(expected, rel=1e-9)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean(), rel=1e-12)
    assert isinstance(model.score(X), float)


@pytest.mark.parametrize("solver", SOLVERS)
@every_covariance_type
@pytest.mark.parametrize("n_features", [1, 2])
@pytest.mark.fast(9)
def test_density_integrates_to_one(solver, structure, n_features):
    X = spiral()[:, :n_features]
    given = {"solver": solver, "max_iter": 20, "random_state": 0, "sparsity": 1.0}
    model = KeOpsGaussianMixture(4, covariance_type=structure, **given).fit(X)
    ticks = np.linspace(-1, 2, 601)
    grid = np.stack(np.meshgrid(*[ticks] * n_features), axis=-1).reshape(-1, n_features)
    cell = (ticks[1] - ticks[0]) ** n_features
    assert np.exp(model.score_samples(grid)).sum() * cell == pytest.approx(1, abs=1e-6)


@every_backend
@every_covariance_type
def test_narrow_components_far_apart(backend, structure):
    """Fitted components 0.001 wide at -1000, 0 and +1000 score to 1e-7."""
    rng = np.random.default_rng(0)
    means = np.array([[-1000.0, 1000.0], [0.0, 0.0], [1000.0, -1000.0]])
    noise = 0.001 * rng.normal(size=(120, 2))
    noise[:, 1] += 0.5 * noise[:, 0]
    X = np.repeat(means, 40, axis=0) + noise
    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        reg_covar=0,
        means_init=means,
        weights_init=np.full(3, 1 / 3),
        precisions_init=precisions(structure, 1e6, 3, 2),
        backend=backend,
    ).fit(X)
    factors = model.precisions_cholesky_
    offsets = reference.offsets_of(structure, model.weights_, model.means_, factors)
    mixture = structure, offsets, model.means_, factors
    exact = reference.exact_log_density(X, *mixture)
    assert_allclose(model.score_samples(X), exact, rtol=0, atol=1e-7)
    step = reference.em_step(X, structure, mixture_of(model))
    assert_allclose(model.means_, step.means, rtol=0, atol=1e-11)
    assert_allclose(model.covariances_, step.covariances, rtol=0, atol=1e-12)


@every_backend
def test_responsibilities_are_a_distribution(backend):
    X = np.concatenate([spiral(), [[1e4, -1e4]]])
    model = sparse_fit(backend=backend)
    pulls = model.predict_proba(X)
    assert (pulls >= 0).all()
    assert_allclose(pulls.sum(axis=1), 1, atol=1e-12)
    assert_array_equal(pulls.argmax(axis=1), model.predict(X))
    assert np.isfinite(model.score_samples(X)).all()


@every_structure
@pytest.mark.parametrize("seed", [0, 7])
def test_sample_is_scikit_learns(structure, seed):
    model = sparse_fit(structure, seed)
    points, labels = model.sample(77)
    expected, expected_labels = as_scikit_learn(model).sample(77)
    assert_allclose(points, expected, rtol=1e-12)
    assert_array_equal(labels, expected_labels)
    assert points.shape == (77, 2)
    assert labels.shape == (77,)
    assert labels.dtype == expected_labels.dtype


def test_sample_moves_on_along_a_stream():
    model = KeOpsGaussianMixture(2, random_state=np.random.RandomState(0)).fit(iris())
    assert not np.array_equal(model.sample(5)[0], model.sample(5)[0])


@every_covariance_type
def test_samples_have_the_moments_of_the_mixture(structure):
    given = {"covariance_type": structure, "random_state": 1}
    model = KeOpsGaussianMixture(3, **given).fit(iris())
    points, labels = model.sample(40_000)
    counts = np.bincount(labels, minlength=model.n_components_)
    deviation = np.sqrt(model.weights_ * (1 - model.weights_) / len(points))
    errors = np.abs(counts / len(points) - model.weights_)
    assert (errors <= 4 * deviation).all()
    covariances = reference.as_matrices(structure, model.covariances_, model.means_)
    for j, (mean, covariance) in enumerate(zip(model.means_, covariances, strict=True)):
        own = points[labels == j]
        variances = np.diagonal(covariance)
        allowed = 5 * np.sqrt(variances / len(own))
        assert (np.abs(own.mean(axis=0) - mean) <= allowed).all()
        scale = np.sqrt(np.outer(variances, variances))
        error = np.abs(np.cov(own.T) - covariance) / scale
        assert (error <= 5 * np.sqrt(2 / len(own))).all()


@pytest.mark.parametrize("n_samples", [0, -3])
def test_sample_refuses_less_than_one(n_samples):
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    with pytest.raises(ValueError, match="Invalid value for 'n_samples'"):
        model.sample(n_samples)


@pytest.mark.parametrize("n_samples", ["a", None, 1.5])
def test_sample_refuses_what_is_no_number_of_rows(n_samples):
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    with pytest.raises(TypeError, match="n_samples must be an instance of int, not"):
        model.sample(n_samples)


@every_covariance_type
def test_criteria_count_what_is_alive(structure):
    X = spiral()
    model = sparse_fit(structure)
    alive = model.n_components_
    free = {
        "full": 3 * alive,
        "tied": 3,
        "diag": 2 * alive,
        "spherical": alive,
        "tied_diag": 2,
        "tied_spherical": 1,
    }
    n_parameters = free[structure] + 2 * alive + alive - 1
    deviance = -2 * model.score_samples(X).sum()
    assert model.aic(X) == pytest.approx(deviance + 2 * n_parameters, rel=1e-9)
    expected = deviance + np.log(len(X)) * n_parameters
    assert model.bic(X) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("other", ["tied", "spherical", "full"])
def test_another_covariance_type_after_the_fit(other):
    model = KeOpsGaussianMixture(3, covariance_type="diag", random_state=0)
    model.fit(iris()).set_params(covariance_type=other)
    for ask in (model.score, model.predict, model.partial_fit):
        with pytest.raises(
            ValueError, match=f"covariance_type='{other}' was set after"
        ):
            ask(iris())
    assert model.fit(iris()).score(iris()) < 0


def test_values_with_names():
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(50, 3)), columns=[*"abc"]
    )
    model = KeOpsGaussianMixture(random_state=0).fit(frame)
    expected = model.condition(["b", "a"], [5.0, 1.0]).means_
    for index in (["b", "a"], [0, 1]):
        found = model.condition(["b", "a"], pd.Series([5.0, 1.0], index=index))
        assert_allclose(found.means_, expected)
    message = r"'values' are of \['a', 'b'\], but 'features' are \['b', 'a'\]"
    with pytest.raises(ValueError, match=message):
        model.condition(["b", "a"], pd.Series({"a": 1.0, "b": 5.0}))
