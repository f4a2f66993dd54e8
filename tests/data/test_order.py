"""Components in an order that says something."""

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.common import blobs, iris, new_scikit_learn
from tests.reference import COVARIANCE_TYPES

OWN = {"weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"}


def fitted(covariance_type="full", **parameters):
    given = {"covariance_type": covariance_type, "random_state": 0} | parameters
    return KeOpsGaussianMixture(4, **given).fit(iris())


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_same_mixture_with_other_numbers(covariance_type):
    model = fitted(covariance_type)
    before = model.predict(iris())
    found = model.sorted_by("weights")
    order = np.argsort(-model.weights_)
    assert not np.array_equal(order, range(4))
    for name in OWN:
        own, other = getattr(model, name), getattr(found, name)
        shared = covariance_type.startswith("tied") and name not in {
            "weights_",
            "means_",
        }
        assert_array_equal(other, own if shared else own[order])
    assert_array_equal(order[found.predict(iris())], before)
    assert found.score(iris()) == pytest.approx(model.score(iris()), rel=1e-12)
    # It is a copy, and all else is as it was.
    found.means_ += 1.0
    assert_array_equal(model.predict(iris()), before)
    assert found.get_params() == model.get_params()
    for name in vars(model).keys() - OWN - model.get_params().keys():
        assert_array_equal(getattr(found, name), getattr(model, name))


def test_means_are_compared_feature_by_feature():
    means = np.array([[1.0, 2.0], [1.0, 0.0], [0.0, 5.0]])
    weights, covariances = np.full(3, 1 / 3), np.ones(3)
    model = KeOpsGaussianMixture.from_parameters(
        weights, means, covariances, "spherical"
    )
    assert_array_equal(model.sorted_by("means").means_, means[[2, 1, 0]])
    # Equal components keep their order.
    assert_array_equal(model.sorted_by("weights").means_, means)


def test_a_key_of_ones_own():
    model = fitted("diag")
    found = model.sorted_by(lambda mixture: mixture.covariances_[:, 2])
    assert (np.diff(found.covariances_[:, 2]) > 0).all()
    again = model.sorted_by(lambda mixture: mixture.means_[:, [3, 0]])
    assert (np.diff(again.means_[:, 3]) > 0).all()


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("pooling", [0.0, 2.0])
def test_online_steps_go_on(covariance_type, pooling):
    """The memory of online EM is in the same order."""
    X = blobs()
    model = KeOpsGaussianMixture(
        3,
        covariance_type=covariance_type,
        covariance_pooling=pooling,
        random_state=0,
    )
    model.partial_fit(X[:200]).partial_fit(X[200:300])
    found = model.sorted_by("means")
    expected = model.partial_fit(X[300:]).sorted_by("means")
    np.testing.assert_allclose(
        found.partial_fit(X[300:]).covariances_, expected.covariances_, rtol=1e-9
    )


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_later_fits_mean_the_same_components(covariance_type):
    start = fitted(covariance_type)
    model = KeOpsGaussianMixture(
        4,
        covariance_type=covariance_type,
        weights_init=start.weights_,
        means_init=start.means_.tolist(),
        precisions_init=start.precisions_,
        frozen={"means": [True, False, False, False], "weights": True},
    ).fit(iris())
    for warm in (False, True):
        found = model.set_params(warm_start=warm).sorted_by("means")
        place = np.flatnonzero((found.means_ == model.means_[0]).all(1))
        again = found.fit(iris())
        assert_array_equal(again.means_[place[0]], start.means_[0])
        assert_array_equal(np.sort(again.weights_), np.sort(start.weights_))
        assert sum(again.frozen["means"]) == 1


def test_a_choice_gives_its_mixture():
    choice = KeOpsGaussianMixtureCV(random_state=0).fit(blobs())
    found = choice.sorted_by("means")
    assert type(found) is KeOpsGaussianMixture
    assert (np.diff(found.means_[:, 0]) > 0).all()


@new_scikit_learn
def test_tensors():
    with sklearn.config_context(array_api_dispatch=True):
        model = KeOpsGaussianMixture(3, random_state=0).fit(torch.tensor(blobs()))
        found = model.sorted_by("means")
        assert (found.means_.diff(dim=0)[:, 0] > 0).all()
        found.predict(torch.tensor(blobs()))


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("covariances", "by='covariances'.*'weights', 'means'"),
        (None, "by=None"),
        (lambda _: [1.0, 2.0], r"each of the 4.*shape \(2,\)"),
        (lambda _: [1.0, 2.0, 3.0, np.nan], "NaN"),
        (lambda _: 3.0, "returned"),
        (lambda _: list("abcd"), "'a'"),
    ],
)
def test_errors(by, message):
    with pytest.raises(ValueError, match=message):
        fitted().sorted_by(by)


def test_it_needs_a_fit():
    with pytest.raises(sklearn.exceptions.NotFittedError):
        KeOpsGaussianMixture().sorted_by("means")
