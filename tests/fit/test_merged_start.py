"""A start by mergers: as many components as asked for, in a better place."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs
from tests.reference import COVARIANCE_TYPES


def unbalanced():
    """Three large clusters and five small ones, which k-means starts miss."""
    rng = np.random.default_rng(3)
    large, small = [(0, 0), (0, 40), (0, 80)], [(90 + 9 * j, 40) for j in range(5)]
    means = np.repeat(np.array(large + small, float), [2000] * 3 + [100] * 5, axis=0)
    return means + rng.normal(size=means.shape) * np.where(means < 90, 5.0, 1.0)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_as_many_components_as_asked_for(structure):
    given = {"covariance_type": structure, "init_params": "merge", "random_state": 0}
    a, b = (KeOpsGaussianMixture(3, **given).fit(blobs()) for _ in range(2))
    assert a.means_.shape == (3, 2)
    assert a.weights_.sum() == pytest.approx(1)
    assert_array_equal(a.means_, b.means_)


@pytest.mark.slow
def test_it_finds_what_single_starts_miss():
    X = unbalanced()
    plain, merged = (
        [
            KeOpsGaussianMixture(8, init_params=start, tol=1e-6, random_state=seed)
            .fit(X)
            .score(X)
            for seed in range(5)
        ]
        for start in ("kmeans", "merge")
    )
    best = max(plain + merged)
    # One of five may miss it, and which one is chance.
    assert best - sorted(merged)[1] < 0.003
    assert best - max(plain) > 0.009


def test_no_component_is_kept_for_a_few_samples():
    """Where the likelihood has no maximum: forty samples, thirty components' worth."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 1, (20, 2)) for c in (-6, 6)])
    model = KeOpsGaussianMixture(2, init_params="merge", random_state=0).fit(X)
    assert_allclose(model.weights_, [0.5, 0.5], atol=1e-6)


def test_arrays_of_a_user_take_precedence():
    means = [[0.0, 0.0], [5.0, 5.0], [9.0, 9.0]]
    model = KeOpsGaussianMixture(
        3, init_params="merge", means_init=means, max_iter=0, random_state=0
    ).fit(blobs())
    assert_array_equal(model.means_, means)


@pytest.mark.parametrize("n_chunks", [1, 4])
def test_chunks(n_chunks):
    X = unbalanced()
    X = X[np.random.default_rng(0).permutation(len(X))]
    chunks = np.array_split(X, n_chunks)
    given = {"init_params": "merge", "random_state": 0}
    model = KeOpsGaussianMixture(8, **given).fit(chunks)
    whole = KeOpsGaussianMixture(8, **given).fit(X)
    assert model.score(X) == pytest.approx(whole.score(X), abs=1e-3)


def test_few_distinct_rows():
    X = np.repeat([[0.0, 0.0], [1.0, 3.0], [5.0, 1.0]], 10, axis=0)
    model = KeOpsGaussianMixture(3, init_params="merge", random_state=0).fit(X)
    assert_allclose(np.sort(model.means_[:, 0]), [0, 1, 5], atol=1e-6)
