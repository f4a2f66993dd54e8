"""Starts from some of the samples; those from all are held to scikit-learn's elsewhere.

See test_drop_in.py and test_mixture.py for the latter.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.utils.random import sample_without_replacement

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data._checks import resolve_init_size
from tests.common import blobs, iris
from tests.reference import COVARIANCE_TYPES

STARTS = ["kmeans", "k-means++"]

every_start = pytest.mark.parametrize("init_params", STARTS)


def start_of(X, sample_weight=None, **given):
    """Return the mixture that a fit starts from."""
    model = KeOpsGaussianMixture(3, max_iter=0, random_state=0, **given)
    return model.fit(X, sample_weight=sample_weight)


def draw(X, size):
    """Return the rows that a start of that size sees, and what draws next."""
    random_state = np.random.RandomState(0)
    rows = sample_without_replacement(len(X), size, random_state=random_state)
    return np.sort(rows), random_state


@every_start
@pytest.mark.parametrize("init_size", ["auto", None, 150, np.int64(10**9)])
def test_exact_where_there_are_no_more_samples(init_params, init_size):
    found = start_of(iris(), init_params=init_params, init_size=init_size)
    expected = start_of(iris(), init_params=init_params)
    assert_array_equal(found.means_, expected.means_)
    assert_array_equal(found.covariances_, expected.covariances_)


def test_clusters_of_all_samples():
    X = blobs(400)
    rows, random_state = draw(X, 50)
    clusters = KMeans(3, n_init=1, random_state=random_state).fit(X[rows])
    labels = clusters.predict(X)
    found = start_of(X, init_size=50)
    for j in range(3):
        mine = X[labels == j]
        covariance = np.cov(mine.T, bias=True) + 1e-6 * np.eye(2)
        assert found.weights_[j] == pytest.approx(len(mine) / len(X))
        assert_allclose(found.means_[j], mine.mean(axis=0))
        assert_allclose(found.covariances_[j], covariance)


def test_kmeans_plusplus_chooses_among_the_drawn():
    X = blobs(400)
    rows, random_state = draw(X, 50)
    chosen, _ = kmeans_plusplus(X[rows], 3, random_state=random_state)
    found = start_of(X, init_params="k-means++", init_size=50)
    assert_allclose(found.means_, chosen, rtol=1e-14)


@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_other_starts_see_all_samples(init_params):
    found = start_of(iris(), init_params=init_params, init_size=5)
    assert_array_equal(found.means_, start_of(iris(), init_params=init_params).means_)


@every_start
def test_default_size(init_params, rng):
    """20,000 samples."""
    X = rng.normal(size=(20_001, 1))
    some, everything = (
        start_of(X[:n], init_params=init_params).means_ for n in (20_001, 20_000)
    )
    assert not np.array_equal(some, everything)
    exact = start_of(X[:20_000], init_params=init_params, init_size=None).means_
    assert_array_equal(everything, exact)


def test_default_size_with_many_components():
    assert resolve_init_size("auto", 10**6, 200) == 20_000
    assert resolve_init_size("auto", 10**6, 201) == 20_100


@every_start
def test_drawn_in_proportion_to_weights(init_params):
    """Samples that weigh next to nothing are not drawn."""
    X = np.concatenate([blobs(400), blobs(400) + 100])
    weights = np.repeat([1.0, 1e-12], 400)
    found = start_of(X, weights, init_params=init_params, init_size=200)
    assert np.abs(found.means_).max() < 50


def test_weights_of_the_drawn():
    """Two values, one of three times the weight: their clusters keep that."""
    X = np.repeat([[0.0], [1.0]], 20_000, axis=0)
    weights = np.repeat([1.0, 3.0], 20_000)
    model = KeOpsGaussianMixture(2, max_iter=0, random_state=0, init_size=10_000)
    model.fit(X, sample_weight=weights)
    assert_allclose(np.sort(model.weights_), [0.25, 0.75], atol=1e-3)


@every_start
def test_all_samples_where_too_few_different_ones_are_drawn(init_params):
    """Two samples carry all the weight that counts, and there are three components."""
    X = blobs(400)
    weights = np.full(400, 1e-12)
    weights[:2] = 1.0
    found = start_of(X, weights, init_params=init_params, init_size=100)
    assert len(np.unique(found.means_, axis=0)) == 3


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_score_is_no_worse(covariance_type):
    """On data with a clear optimum a start from few samples finds it as well."""
    X = blobs(5000)
    given = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    few, everything = (
        KeOpsGaussianMixture(**given, init_size=init_size, tol=1e-6).fit(X).score(X)
        for init_size in (300, None)
    )
    assert few == pytest.approx(everything, abs=1e-4)


@every_start
def test_same_seed_same_start(init_params):
    first, second = (
        start_of(blobs(), init_params=init_params, init_size=50) for _ in range(2)
    )
    assert_array_equal(first.means_, second.means_)


@every_start
def test_tensors_in_float32(init_params):
    X = blobs().astype(np.float32)
    found = start_of(X, init_params=init_params, init_size=50)
    assert found.means_.dtype == np.float32
    assert np.isfinite(found.covariances_).all()


def three_blobs(offset, rng):
    """Return blobs far from zero, and the same, rounded alike, about zero."""
    middles = np.repeat([[0.0, 0.0], [6.0, 0.0], [6.0, -6.0]], 100, axis=0)
    far = rng.normal(size=(300, 2)) + middles + offset
    return far, far - offset


any_start = pytest.mark.parametrize(
    "init_params", [*STARTS, "random", "random_from_data"]
)


@any_start
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("offset", [[2e9, 2e9], [-1.7e9, 3.0], [-30.0, 1e12]])
@pytest.mark.parametrize("init_size", ["auto", 50])
@pytest.mark.fast(24)
def test_offsets_beyond_squares(init_params, structure, offset, init_size, rng):
    """Where squares keep no digit of the widths a fit is that without the offset."""
    far, near = three_blobs(np.array(offset), rng)
    given = {
        "covariance_type": structure,
        "init_params": init_params,
        "init_size": init_size,
        "tol": 1e-6,
        "max_iter": 500,
    }
    for seed in range(3):
        model = KeOpsGaussianMixture(3, random_state=seed, **given)
        expected = model.fit(near).score(near)
        found = model.fit(far).score(far)
        assert found == pytest.approx(expected, abs=0.02)


@any_start
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_offsets_and_weights(init_params, structure, rng):
    far, near = three_blobs(2e9, rng)
    weights = rng.integers(1, 4, size=300).astype(float)
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, init_params=init_params, random_state=0
    )
    expected = model.fit(near, sample_weight=weights).score(near)
    found = model.fit(far, sample_weight=weights).score(far)
    assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_a_sample_of_its_own_beyond_squares(structure, rng):
    """Its width is `reg_covar`, not rounding error of the offset."""
    far, near = three_blobs(2e9, rng)
    far[0] += 50
    near[0] += 50
    model = KeOpsGaussianMixture(
        4,
        covariance_type=structure,
        means_init=[[0.0, 0.0], [6.0, 0.0], [6.0, -6.0], near[0]],
        reg_covar=0.01,
        random_state=0,
    )
    expected = model.fit(near).score(near)
    model.set_params(means_init=np.array(model.means_init) + 2e9)
    assert model.fit(far).score(far) == pytest.approx(expected, abs=0.02)


def test_a_sample_far_away_that_is_not_drawn(rng):
    """It sets the unit of k-means for all samples: those drawn are no exception."""
    X = rng.normal(scale=0.1, size=(3000, 2)) + np.repeat([[1.0], [-1.0]], 1500, axis=0)
    X = X.astype(np.float32)
    assert 7 not in draw(X, 100)[0]
    X[7] = 1e12
    model = KeOpsGaussianMixture(
        2, covariance_type="diag", max_iter=0, init_size=100, random_state=0
    )
    found = model.fit(X)
    assert_allclose(found.weights_, 0.5, atol=1e-3)
    assert_allclose(found.means_.min(axis=0), -1.0, atol=0.02)
