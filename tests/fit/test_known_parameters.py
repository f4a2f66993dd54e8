"""Mixtures made of parameters that are known."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.common import iris, new_scikit_learn
from tests.reference import COVARIANCE_TYPES, STRUCTURES

every_covariance_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def arrays(covariance_type="full"):
    """Weights, means and covariances of three components in four features."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 4, 4)) + 2 * np.eye(4)
    full = roots @ roots.mT
    diagonals = np.diagonal(full, axis1=1, axis2=2)
    covariances = {
        "full": full,
        "tied": full.mean(0),
        "diag": diagonals,
        "spherical": diagonals.mean(1),
        "tied_diag": diagonals.mean(0),
        "tied_spherical": diagonals.mean(keepdims=True)[0],
    }[covariance_type]
    return np.array([0.2, 0.5, 0.3]), rng.normal(size=(3, 4)) + 4, covariances


def known(covariance_type="full", **parameters):
    given = arrays(covariance_type)
    return KeOpsGaussianMixture.from_parameters(*given, covariance_type, **parameters)


@every_covariance_type
def test_it_is_the_mixture(covariance_type):
    model = known(covariance_type)
    check_is_fitted(model)
    mixture = reference.Mixture(*arrays(covariance_type))
    assert_array_equal(model.weights_, mixture.weights)
    assert_array_equal(model.covariances_, mixture.covariances)
    parts = reference.components_of(covariance_type, mixture)
    expected = reference.log_density(iris(), *parts)
    assert_allclose(model.score_samples(iris()), expected, rtol=1e-12)
    expected = reference.responsibilities(iris(), *parts)
    assert_allclose(model.predict_proba(iris()), expected, atol=1e-12)
    assert (model.n_components, model.n_components_, model.n_features_in_) == (3, 3, 4)


def test_all_that_a_fitted_mixture_is_asked():
    model = known("diag", random_state=0)
    X = iris()
    assert model.sample(5)[0].shape == (5, 4)
    assert model.bic(X) > model.aic(X)
    assert "converge" not in str(model.summary(X)) + str(model.summary())
    assert model.marginal([0, 2]).means_.shape == (2 + 1, 2)
    assert model.condition(0, 5.0).means_.shape == (3, 3)
    assert model.conditional_mean([0, 1], X[:, :2]).shape == (150, 2)
    assert_array_equal(model.impute(X), X)
    assert_allclose(model.to_sklearn().score(X), model.score(X))
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    assert not hasattr(clone(model), "means_")
    assert model.partial_fit(X).n_iter_ == 1


@every_covariance_type
def test_what_a_fit_found_comes_back(covariance_type):
    fitted = KeOpsGaussianMixture(
        2, covariance_type=covariance_type, tol=1e-8, max_iter=1000, random_state=0
    ).fit(iris())
    found = fitted.weights_, fitted.means_, fitted.covariances_
    model = KeOpsGaussianMixture.from_parameters(*found, covariance_type)
    for name in ("weights_", "means_", "covariances_"):
        assert_array_equal(getattr(model, name), getattr(fitted, name))
    assert_allclose(model.precisions_, fitted.precisions_, rtol=1e-9)
    assert sorted(vars(model)) == sorted(vars(fitted))
    assert_allclose(
        model.standard_errors(iris()).means, fitted.standard_errors(iris()).means
    )


def test_a_warm_start_continues_from_it():
    model = known("diag", warm_start=True, max_iter=1, tol=1e9)
    expected = reference.em_step(
        iris(), "diag", reference.Mixture(*arrays("diag")), reg_covar=1e-6
    )
    model.fit(iris())
    assert_allclose(model.means_, expected.means, rtol=1e-9)
    assert_allclose(model.covariances_, expected.covariances, rtol=1e-9)


def test_single_precision_and_names():
    single = [array.astype(np.float32) for array in arrays()]
    assert KeOpsGaussianMixture.from_parameters(*single).means_.dtype == np.float32
    weights, means, covariances = arrays()
    columns = pd.DataFrame(means, columns=list("abcd"))
    model = KeOpsGaussianMixture.from_parameters(weights, columns, covariances)
    assert list(model.feature_names_in_) == list("abcd")
    assert model.marginal("c").means_.shape == (3, 1)


@new_scikit_learn
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors(dtype):
    tensors = [torch.tensor(array, dtype=dtype) for array in arrays()]
    with sklearn.config_context(array_api_dispatch=True):
        model = KeOpsGaussianMixture.from_parameters(*tensors)
        assert model.precisions_cholesky_.dtype == dtype
        labels = model.predict(torch.tensor(iris(), dtype=dtype))
    assert_array_equal(labels, known().predict(iris()))
    plain = KeOpsGaussianMixture.from_parameters(*tensors)
    assert isinstance(plain.means_, np.ndarray)


def changed(name, change, covariance_type="full"):
    given = dict(
        zip(("weights", "means", "covariances"), arrays(covariance_type), strict=True)
    )
    return given | {
        name: change(given[name].copy()),
        "covariance_type": covariance_type,
    }


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (changed("weights", lambda w: w[:2]), r"'weights'.*\(3,\), but got \(2,\)"),
        (changed("weights", lambda w: 2 * w), r"'weights'.*normalized.*2\.0"),
        (changed("weights", lambda w: w - [0.4, 0, -0.4]), r"'weights'.*range \[0, 1"),
        (changed("weights", put(0, np.nan)), "weights contains NaN"),
        (changed("weights", lambda w: None), "'weights' .* numbers, but got None"),
        (
            changed("means", lambda m: [[1], [2, 3]]),
            r"'means' .*got \[\[1\], \[2, 3\]\]",
        ),
        (changed("covariances", lambda c: "eye"), "'covariances' .*, but got 'eye'"),
        (changed("covariances", lambda c: 1.0), r"'covariances' .*, but got 1\.0"),
        (changed("means", lambda m: m[0]), r"'means'.*n_features\), but got \(4,\)"),
        (changed("means", put((0, 0), np.inf)), "means contains infinity"),
        (
            changed("covariances", lambda c: c[0]),
            r"'covar.*\(3, 4, 4\), but got \(4, 4",
        ),
        (changed("covariances", put((1, 0, 1), 9.0)), r"symmetric.*components \[1\]"),
        (changed("covariances", put((2, 0, 0), -1.0)), r"definite.*components \[2\]"),
        (changed("covariances", put((2, 0), 0.0), "diag"), r"positive.*\[2\] are not"),
        (changed("covariances", put(0, -1.0), "tied_diag"), r"positive.*they are not"),
        (changed("covariances", np.ones_like), r"'covariances'.*definite"),
        (changed("means", np.array) | {"n_components": 2}, "n_components=2, but"),
        (changed("means", np.array) | {"tol": -1.0}, "'tol' parameter"),
        (changed("means", np.array) | {"covariance_type": "round"}, "covariance_type"),
    ],
)
def test_errors(given, message):
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture.from_parameters(**given)


@pytest.mark.parametrize("covariance_type", STRUCTURES)
def test_covariances_of_rank_less_than_full(covariance_type):
    weights, means, covariances = arrays(covariance_type)
    with pytest.raises(ValueError, match="covariances"):
        KeOpsGaussianMixture.from_parameters(
            weights, means, np.zeros_like(covariances), covariance_type
        )
