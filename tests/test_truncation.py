"""Fits in which each sample has few candidates."""

import pickle
import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_keops_gmm import KeOpsGaussianMixture, sparsity_path
from tests import common
from tests.common import needs_compiled
from tests.reference import COVARIANCE_TYPES

pytestmark = [
    needs_compiled,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def clusters(n_clusters=80, n_samples=2000, n_features=4):
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(n_clusters, n_features))
    normal = rng.normal(size=(n_samples, n_features))
    return centres[rng.integers(n_clusters, size=n_samples)] + normal


def mixture(n_components=80, **given):
    given = {"truncation": 3, "random_state": 0, "tol": 0.0, "max_iter": 12} | given
    return KeOpsGaussianMixture(n_components, device="cpu", **given)


@parametrize_with_checks([mixture(1, max_iter=20, tol=1e-3)])
@pytest.mark.fast(30)
def test_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_bound_never_falls(covariance_type, dtype):
    X = clusters().astype(dtype)
    weights = np.random.default_rng(1).uniform(size=len(X))
    # A ridge is no part of the likelihood, which it may lower.
    model = mixture(covariance_type=covariance_type, reg_covar=1e-9, max_iter=25)
    model.fit(X, sample_weight=weights)
    rounding = 1e-9 if dtype == "float64" else 1e-5
    assert (np.diff(model.lower_bounds_) >= -rounding).all()
    assert -model.cost_ >= model.lower_bound_ - rounding
    exact = weights @ model.score_samples(X) / weights.sum()
    assert -0.1 < -model.cost_ - exact < rounding


def test_it_ends_near_em():
    X = clusters()
    begun = mixture(max_iter=0).fit(X)
    start = {
        "weights_init": begun.weights_,
        "means_init": begun.means_,
        "precisions_init": begun.precisions_,
    }
    exact = mixture(truncation=None, max_iter=20, **start).fit(X)
    few = mixture(max_iter=20, **start).fit(X)
    assert few.score(X) > exact.score(X) - 0.01
    assert few.score(X) > begun.score(X) + 0.1


@pytest.mark.parametrize("truncation", [6, 100])
def test_as_many_as_there_are_is_em(truncation):
    X = common.blobs()
    start = common.start(X, "full", 6, scale=4.0)
    plain = mixture(truncation=None, **start).fit(X)
    model = mixture(truncation=truncation, **start).fit(X)
    assert_allclose(model.lower_bounds_, plain.lower_bounds_, rtol=1e-10)
    assert_allclose(model.means_, plain.means_, rtol=1e-10)


def test_a_fit_is_repeated():
    X = clusters()
    model = mixture().fit(X)
    again = clone(model).fit(X)
    assert_array_equal(model.means_, again.means_)
    assert_array_equal(model.means_, pickle.loads(pickle.dumps(model)).means_)
    assert again.get_params()["truncation"] == 3
    assert "truncation=3" in repr(model)


def test_predictions_are_exact():
    X = clusters()
    model = mixture().fit(X)
    plain = mixture(truncation=None)
    vars(plain).update({k: v for k, v in vars(model).items() if k != "truncation"})
    assert_array_equal(model.predict(X), plain.predict(X))
    assert_array_equal(model.score_samples(X), plain.score_samples(X))


def test_few_samples_and_equal_ones():
    for X in (np.arange(8.0)[:, None], np.repeat([[0.0], [1.0]], 6, axis=0)):
        model = mixture(7, truncation=2, reg_covar=1e-3).fit(X)
        assert np.isfinite(model.score(X))
        assert model.weights_.sum() == pytest.approx(1.0)


def test_a_warm_start_and_batches_continue():
    X = clusters()
    model = mixture(max_iter=3, warm_start=True, reg_covar=1e-9).fit(X)
    before = model.lower_bound_
    assert model.fit(X).lower_bounds_[0] > before - 0.01
    assert np.isfinite(model.partial_fit(X[:500]).score(X))


@pytest.mark.parametrize(
    "given",
    [
        {"solver": "lbfgs"},
        {"solver": "adam"},
        {"acceleration": "squarem"},
        {"sparsity": 1.0},
        {"moves": True},
        {"n_init": 2},
        {"init_params": "merge"},
        {"init_params": "k-means++"},
        {"backend": "torch"},
        {"noise": "uniform"},
    ],
)
def test_what_it_cannot_be_combined_with(given):
    [(name, value)] = given.items()
    wrong = re.escape(f"{name}={value!r}")
    with pytest.raises(ValueError, match=rf"truncation=3 .*{wrong}.* Use "):
        mixture(5, **given).fit(common.blobs())


def test_samples_it_cannot_take():
    X = common.blobs()
    with pytest.raises(ValueError, match="truncation=3 needs samples in memory"):
        mixture(5).fit([X[:50], X[50:]])


def test_samples_that_miss_something_have_all_components():
    X = clusters()
    X[::10, 0] = np.nan
    model = mixture(reg_covar=1e-9).fit(X)
    assert (np.diff(model.lower_bounds_) >= -1e-9).all()
    assert -0.1 < -model.cost_ - model.score(X) < 1e-9


def test_no_labels_of_components():
    X = common.blobs()
    labels = np.where(np.arange(len(X)) < 5, 0, -1)
    with pytest.raises(ValueError, match=r"truncation=3 .* component_labels\. Leave"):
        mixture(5).fit(X, component_labels=labels)


def test_a_path_has_none():
    with pytest.raises(ValueError, match="takes no 'truncation' but None, got 3"):
        sparsity_path(common.blobs(), 4, truncation=3)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "auto"])
def test_no_wrong_truncation(wrong):
    with pytest.raises(ValueError, match="The 'truncation' parameter"):
        mixture(5, truncation=wrong).fit(common.blobs())


def test_the_random_start_is_the_usual_one():
    X = clusters()
    given = {"init_params": "random_from_data", "max_iter": 0}
    few, plain = (mixture(truncation=k, **given).fit(X) for k in (3, None))
    assert_array_equal(few.means_, plain.means_)


def test_a_bootstrap_is_exact():
    X = common.blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        few = mixture(5, truncation=2, reg_covar=1e-3).fit(X)
        found = few.bootstrap(X, n_resamples=3, random_state=0)
    assert found.means.shape[1:] == (5, 2)
