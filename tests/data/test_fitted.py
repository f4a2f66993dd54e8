"""Attributes that were changed after the fit: an error, or what they now say."""

import copy
import pickle

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.common import blobs
from tests.reference import COVARIANCE_TYPES

X = blobs()
ASKED = {
    **{
        name: lambda model, name=name: getattr(model, name)(X)
        for name in ("predict", "predict_proba", "score_samples", "score", "bic")
    },
    "conditional_mean": lambda model: model.conditional_mean([0], X[:, :1]),
    "condition": lambda model: model.condition(0, 1.0),
    "marginal": lambda model: model.marginal([0]),
    "sample": lambda model: model.sample(3),
    "to_sklearn": lambda model: model.to_sklearn(),
    "partial_fit": lambda model: model.partial_fit(X),
    "warm start": lambda model: model.set_params(warm_start=True).fit(X),
}
every_question = pytest.mark.parametrize("asked", ASKED)


def fitted(covariance_type="full"):
    """Return a mixture of as many components as there are features."""
    return KeOpsGaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(
        X
    )


NOT_FINITE = {
    "weights_": np.array([np.nan, 0.5]),
    "means_": np.full((2, 2), np.inf),
    "covariances_": np.full((2, 2, 2), np.nan),
    "precisions_cholesky_": np.full((2, 2, 2), np.nan),
}


@every_question
@pytest.mark.parametrize("name", NOT_FINITE)
def test_not_finite(asked, name):
    model = fitted()
    setattr(model, name, NOT_FINITE[name])
    with pytest.raises(ValueError, match=f"^{name} has a NaN or infinity. Fit it"):
        ASKED[asked](model)


@every_question
@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0]])
def test_weights_of_no_mixture(asked, weights):
    model = fitted()
    model.weights_ = np.array(weights)
    with pytest.raises(ValueError, match=r"^weights_ have to be >= 0, and not all"):
        ASKED[asked](model)


OTHER_SHAPES = {
    "weights_": np.full(3, 1 / 3),
    "covariances_": np.ones((2, 2)),
    "precisions_cholesky_": np.ones((2, 2)),
}


@every_question
@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_other_shapes(asked, name):
    model = fitted()
    setattr(model, name, OTHER_SHAPES[name])
    with pytest.raises(ValueError, match=rf"^{name} is of shape \(.*was changed"):
        ASKED[asked](model)


@every_question
@pytest.mark.parametrize("now", COVARIANCE_TYPES)
@pytest.mark.parametrize("then", COVARIANCE_TYPES)
@pytest.mark.fast(72)
def test_another_covariance_type(asked, then, now):
    """With as many components as features shapes do not tell them apart."""
    if then == now:
        return
    model = fitted(then)
    for kept in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        kept.covariance_type = now
        message = f"^covariance_type='{now}' was set after .* fitted with '{then}'"
        with pytest.raises(ValueError, match=message):
            ASKED[asked](kept)


def test_advice_is_about_parameters_that_there_are():
    chosen = KeOpsGaussianMixtureCV(1).fit(X).set_params(covariance_type="diag")
    with pytest.raises(ValueError, match=r"fitted with 'full'. Fit it again\.$"):
        chosen.predict(X)


def test_all_of_them_can_be_changed():
    """A mixture by hand, of another type than that of the fit."""
    model = fitted("tied")
    model.covariance_type = "spherical"
    model.covariances_ = np.array([4.0, 9.0])
    model.precisions_cholesky_ = np.array([0.5, 1 / 3])
    assert np.isfinite(model.score(X))


def test_a_new_fit_forgets():
    model = fitted("diag")
    model.covariance_type, model.weights_ = "tied", np.array([np.nan, 1.0])
    expected = fitted("tied").predict(X)
    np.testing.assert_array_equal(model.fit(X).predict(X), expected)
