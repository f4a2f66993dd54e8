"""Where paths start: what has no say in that, and what k-means measures there."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixtureCV
from sklearn_keops_gmm._fit._sample import Sample


def animals(rng):
    """Four groups of 50 animals, which differ in shape far less than in size."""
    size = rng.lognormal(sigma=0.3, size=200)
    shapes = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]])[np.arange(200) % 4]
    X = size[:, None] * [10.0, 8.0, 20.0, 22.0, 9.0]
    X[:, :3] += 1.5 * shapes
    return X + rng.normal(scale=0.15, size=X.shape)


def found(X, **how):
    """Return the number of components, and the best criterion."""
    model = KeOpsGaussianMixtureCV(8).fit(X, **how)
    return model.n_components_, model.results_["criterion"].min()


def test_groups_of_another_shape():
    """Features that go with size hide them; principal axes show them."""
    X = animals(np.random.default_rng(0))
    model = KeOpsGaussianMixtureCV(8).fit(X)
    assert model.n_components_ == 4
    groups = [np.bincount(model.predict(X[j::4])).max() for j in range(4)]
    assert min(groups) >= 48


@pytest.mark.parametrize("seed", range(3))
def test_order_and_sign_of_features(seed):
    """Nor does a tail hide what k-means then finds: any order is as good."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(sigma=0.3, size=(120, 1))
    shapes = rng.normal(size=(4, 4))[np.arange(120) % 4]
    tails = 0.5 * rng.exponential(size=(120, 1))
    X = size * [10.0, 8.0, 20.0, 22.0] + shapes + tails * rng.normal(size=(120, 4))
    count, least = found(X)
    for other in (X[:, ::-1], -X, X * [1, -1, 1, -1], X[:, rng.permutation(4)]):
        assert found(other) == (count, pytest.approx(least, abs=1e-3))


@pytest.mark.parametrize("seed", range(3))
def test_tied_values(seed):
    """Neither the order of rows decides, nor whether equal ones are counted."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=2.0, size=(4, 3))
    X = (centres[rng.integers(4, size=400)] + rng.normal(size=(400, 3))).round()
    count, least = found(X)
    expected = count, pytest.approx(least, abs=1e-3)
    rows, counts = np.unique(X, axis=0, return_counts=True)
    assert len(rows) < 250
    assert found(rng.permutation(X)) == expected
    assert found(rows, sample_weight=counts) == expected


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_principal_axes(power, rng):
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    spreads = X.std(axis=0)
    sample = Sample(torch.from_numpy(X), None, torch.from_numpy(X.mean(axis=0)))
    scaled = X / spreads
    found = np.cov((scaled @ sample.principal_axes(spreads, power)).T, ddof=0)
    variances = np.linalg.eigvalsh(np.cov(scaled.T, ddof=0))
    assert_allclose(found, np.diag(variances ** (1 - power)), atol=1e-10)


@pytest.mark.parametrize("kind", ["constant", "one row", "incomplete", "dependent"])
def test_axes_of_what_has_none(kind, rng):
    X = rng.normal(size=(20, 2))
    if kind == "constant":
        X[:] = 1.0
    elif kind == "incomplete":
        X[np.arange(20), np.arange(20) % 2] = np.nan
    elif kind == "dependent":
        X[:, 1] = 2 * X[:, 0]
    X = X[:1] if kind == "one row" else X
    sample = Sample(torch.from_numpy(X), None, torch.zeros(2, dtype=torch.float64))
    axes = sample.principal_axes(np.ones(2), 1.0)
    assert np.isfinite(axes).all()
    if kind != "dependent":
        assert_allclose(axes, np.eye(2))
