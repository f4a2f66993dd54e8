"""The density of noise beside features that are linear functions of others."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.common import blobs

noisy = partial(
    KeOpsGaussianMixture, 3, noise="uniform", random_state=0, tol=1e-6, max_iter=500
)
# A copy, two of them, a sum, a small unit, and two functions at once.
SLOPES = {
    "copy": [[1.0], [0.0]],
    "copies": [[1.0, 1.0], [0.0, 0.0]],
    "sum": [[1.0], [1.0]],
    "unit": [[0.0], [0.01]],
    "both": [[1.0, 0.1], [-2.0, 0.0]],
}


@pytest.fixture(name="X")
def noisy_blobs(rng):
    """Three blobs, and a quarter of noise."""
    return np.concatenate((blobs(300), rng.uniform([-8, -9], [16, 15], size=(100, 2))))


def beside(X, name):
    """Return the features with functions of them behind."""
    return np.column_stack((X, X @ np.array(SLOPES[name]) + 3.0))


@pytest.mark.parametrize("reg_covar", [1e-6, "auto"])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("name", SLOPES)
def test_they_change_nothing(name, covariance_type, reg_covar, X):
    given = {"covariance_type": covariance_type, "reg_covar": reg_covar}
    plain = noisy(**given).fit(X)
    more = beside(X, name)
    for order in (np.arange(more.shape[1]), np.arange(more.shape[1])[::-1]):
        model = noisy(**given).fit(more[:, order])
        assert model.noise_weight_ == pytest.approx(plain.noise_weight_, rel=1e-3)
        shares = model.predict_proba(more[:, order])[:, -1]
        assert_allclose(shares, plain.predict_proba(X)[:, -1], atol=2e-3)
        # The components may come in another order.
        sizes = np.unique(model.predict(more[:, order]), return_counts=True)[1]
        expected = np.unique(plain.predict(X), return_counts=True)[1]
        assert_array_equal(np.sort(sizes), np.sort(expected))


@pytest.mark.parametrize("name", ["copy", "sum"])
def test_the_number_of_components_beside_them(name, X):
    plain = KeOpsGaussianMixtureCV(5, noise="uniform", random_state=0).fit(X)
    model = KeOpsGaussianMixtureCV(5, noise="uniform", random_state=0)
    model.fit(beside(X, name))
    assert model.n_components_ == plain.n_components_ == 3
    assert model.noise_weight_ == pytest.approx(plain.noise_weight_, rel=1e-2)


def test_a_volume_is_that_of_the_others(X):
    plain = noisy(noise_volume=300.0).fit(X)
    model = noisy(noise_volume=300.0).fit(beside(X, "copies"))
    assert model.noise_weight_ == pytest.approx(plain.noise_weight_, rel=1e-3)


def test_answers_for_some_of_the_features(X):
    """What follows from others is as probable without it, and noise as dense."""
    plain, more = noisy().fit(X), beside(X, "sum")
    model = noisy().fit(more)
    whole = model.predict_proba(more)[:, -1]
    for missing in range(3):
        gaps = more.copy()
        gaps[:, missing] = np.nan
        assert_allclose(model.predict_proba(gaps)[:, -1], whole, atol=1e-4)
        kept = np.delete(np.arange(3), missing)
        some = model.marginal(kept)
        assert_allclose(some.predict_proba(more[:, kept])[:, -1], whole, atol=1e-4)
    one = plain.marginal([0]).noise_log_density_
    assert model.marginal([0]).noise_log_density_ == pytest.approx(one)
    side = -np.log(np.ptp(more[:, 2]))
    assert model.marginal([2]).noise_log_density_ == pytest.approx(side)


def test_answers_for_a_copy_alone(X):
    plain, more = noisy().fit(X), beside(X, "copy")
    model = noisy().fit(more)
    expected = plain.marginal([0]).predict_proba(X[:, :1])[:, -1]
    found = model.marginal([2]).predict_proba(more[:, [2]])[:, -1]
    assert_allclose(found, expected, atol=1e-4)
    found = model.marginal([0, 2]).predict_proba(more[:, [0, 2]])[:, -1]
    assert_allclose(found, expected, atol=1e-4)


def test_missing_values_beside_them(X):
    """Each sample keeps what tells the value that it misses."""
    more = beside(X, "sum")
    rows = np.arange(len(X))
    more[rows[::3], rows[::3] // 3 % 3] = np.nan
    model, plain = noisy().fit(more), noisy().fit(X)
    assert model.noise_weight_ == pytest.approx(plain.noise_weight_, abs=0.01)
    assert np.mean((model.predict(more) < 0) == (plain.predict(X) < 0)) > 0.99


@pytest.mark.parametrize("name", ["copies", "sum"])
def test_samples_of_noise_depend_alike(name, X):
    model = noisy().fit(beside(X, name))
    drawn, labels = model.sample(2000, random_state=0)
    assert (labels == -1).sum() > 300
    assert_allclose(drawn[:, 2:], beside(drawn[:, :2], name)[:, 2:], atol=0.02)
    low, high = model.noise_box_[:, :2]
    noise = drawn[labels == -1][:, :2]
    assert (noise > low - 0.02).all()
    assert (noise < high + 0.02).all()


@pytest.mark.parametrize("given", [[0], [2], [1, 2], [0, 2]])
@pytest.mark.parametrize("name", ["copy", "sum"])
def test_noise_given_some_features(name, given, X):
    """The density of all is that of some times that of all others given those."""
    more = beside(X, name)
    model = noisy().fit(more)
    others = np.setdiff1d(np.arange(3), given)
    conditional = model.condition(given, more[7, given])
    expected = model.score_samples(more[7:8])
    some = model.marginal(given).score_samples(more[7:8, given])
    rest = conditional.score_samples(more[7:8, others])
    assert_allclose(some + rest, expected, rtol=1e-3)
    density = model.marginal(given).noise_log_density_ + conditional.noise_log_density_
    assert density == pytest.approx(model.noise_log_density_, abs=1e-4)


def test_nothing_observed_beside_them(X):
    more = np.concatenate((beside(X, "copy"), np.full((5, 3), np.nan)))
    model = noisy().fit(more)
    assert_allclose(model.score_samples(more[-5:]), 0.0, atol=1e-12)
