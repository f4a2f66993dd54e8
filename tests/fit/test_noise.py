"""The density of noise along features that are constant."""

import pickle
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.datasets import load_wine

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._model import AllNoiseError
from tests.common import blobs

noisy = partial(KeOpsGaussianMixture, noise="uniform")


@pytest.fixture(name="X")
def noisy_blobs(rng):
    """Three blobs, and a quarter of noise."""
    return np.concatenate((blobs(300), rng.uniform([-8, -9], [16, 15], size=(100, 2))))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "tied_diag"])
@pytest.mark.parametrize("volume", [None, 300.0])
def test_constant_features_change_nothing(covariance_type, volume, X):
    given = {"covariance_type": covariance_type, "noise_volume": volume, "tol": 1e-6}
    plain = noisy(3, random_state=0, **given).fit(X)
    constant = np.column_stack((X[:, 0], np.full(len(X), 7.0), X[:, 1]))
    model = noisy(3, random_state=0, **given).fit(constant)
    ridge = multivariate_normal(7.0, 1e-6).logpdf(7.0)
    expected = plain.noise_log_density_ + ridge
    assert model.noise_log_density_ == pytest.approx(expected, rel=1e-12)
    assert model.noise_weight_ == pytest.approx(plain.noise_weight_, rel=1e-6)
    scores = plain.score_samples(X) + ridge
    assert_allclose(model.score_samples(constant), scores, rtol=1e-5)
    shares = plain.predict_proba(X)[:, -1]
    assert_allclose(model.predict_proba(constant)[:, -1], shares, atol=1e-5)
    some = model.marginal([2, 0])
    assert some.noise_log_density_ == pytest.approx(plain.noise_log_density_, rel=1e-9)
    assert model.marginal([1]).noise_log_density_ == pytest.approx(ridge, rel=1e-9)
    gaps = np.where([False, True, False], np.nan, constant)
    assert_allclose(model.predict_proba(gaps)[:, -1], shares, atol=1e-5)


def test_constant_features_without_a_ridge_have_no_density(X):
    """Where they are constant the variance of a sphere is that of the others."""
    constant = np.column_stack((X, np.full(len(X), 7.0)))
    given = {"covariance_type": "spherical", "max_iter": 1}
    model = noisy(3, random_state=0, **given)
    with pytest.warns(match="did not converge"):
        model.fit(constant)
    box = -np.log(np.ptp(X, axis=0)).sum()
    assert model.noise_log_density_ == pytest.approx(box)


@pytest.mark.parametrize("pieces", [False, True])
def test_the_number_of_components_beside_constant_features(pieces, rng):
    clusters = [rng.normal(c, 1, (200, 2)) for c in (-5, 0, 5)]
    X = np.concatenate([*clusters, rng.uniform(-15, 15, (150, 2))])
    X = rng.permutation(X)
    constant = np.column_stack((X, np.full((len(X), 2), [3.0, -1e4])))
    plain, model = (
        KeOpsGaussianMixtureCV(5, noise="uniform", random_state=0).fit(
            [Z[:375], Z[375:]] if pieces else Z
        )
        for Z in (X, constant)
    )
    assert model.n_components_ == plain.n_components_ == 3
    assert model.noise_weight_ == pytest.approx(plain.noise_weight_, rel=1e-3)


@pytest.mark.parametrize("volume", [None, 300.0])
def test_mixtures_of_older_versions(volume, X):
    """They know their density and their box, which tell the widths."""
    model = noisy(3, random_state=0, noise_volume=volume).fit(X)
    gaps = np.where(np.arange(len(X))[:, None] % 3 == [0, 1], np.nan, X)
    expected = model.score_samples(gaps)
    del model.noise_log_widths_
    assert_allclose(model.score_samples(gaps), expected, rtol=1e-12)


def test_noise_that_explains_all_samples():
    """Round components in features of other units are far less likely than a box."""
    X = load_wine().data
    with pytest.raises(ValueError, match=r"Noise explains all samples.*noise_volume"):
        noisy(3, covariance_type="spherical", random_state=0).fit(X)
    volume = 1e3 * np.prod(np.ptp(X, axis=0))
    model = noisy(3, covariance_type="spherical", random_state=0, noise_volume=volume)
    assert 0.0 <= model.fit(X).noise_weight_ < 1.0


def test_noise_that_explains_zeros_and_ones():
    """A box has density 1 there, and Gaussians less: the search says so, too."""
    X = (np.random.default_rng(0).normal(size=(30, 3)) > 0).astype(float)
    for covariance_type in ("diag", ["diag", "spherical"]):
        search = KeOpsGaussianMixtureCV(
            3, covariance_type=covariance_type, noise="uniform", random_state=0
        )
        with pytest.raises(ValueError, match="Noise explains all samples"):
            search.fit(X)


def test_types_that_lose_to_noise_leave_the_choice_to_others():
    """As round components in features of other units do."""
    X = load_wine().data
    search = KeOpsGaussianMixtureCV(
        3, covariance_type=["spherical", "diag"], noise="uniform", random_state=0
    ).fit(X)
    assert search.covariance_type_ == "diag"


def test_a_type_that_wins_on_its_way_to_noise_loses():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(150, 2)) * [1, 1e-3] @ np.array([[1, 1], [-1, 1]]) / 2**0.5
    X = np.vstack([line, rng.uniform(-3, 3, size=(150, 2))])
    given = {"noise": "uniform", "noise_volume": 0.03, "criterion": "bic"}
    for types in (["full"], ["spherical", "full"], ["full", "spherical", "diag"]):
        search = KeOpsGaussianMixtureCV(4, covariance_type=types, **given).fit(X)
        assert (search.n_components_, search.covariance_type_) == (1, "full")


def test_the_error_goes_to_other_processes():
    error = pickle.loads(pickle.dumps(AllNoiseError()))
    assert str(error) == str(AllNoiseError())
