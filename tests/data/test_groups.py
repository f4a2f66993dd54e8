"""Probabilities of groups of components, a few samples at a time."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture, MixtureClustering
from sklearn_keops_gmm._data import GroupMeans, _query, as_source, fitted_model
from sklearn_keops_gmm._model import label_shares
from tests.common import blobs, every_backend


@pytest.fixture
def small_tiles(monkeypatch):
    """Let tiles have seven rows, and tell the sizes of all that were asked for."""
    monkeypatch.setattr(_query, "_PAIRS", 1)
    monkeypatch.setattr(_query, "_MIN_ROWS", 7)


def largest(probabilities, weights):
    """A function that a tile of too many rows would fail."""
    assert len(probabilities) <= 7
    assert weights is None or weights.shape == (len(probabilities), 1)
    return (
        probabilities.sum(dim=0)
        if weights is None
        else (probabilities * weights).sum(0)
    )


@every_backend
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_means_are_of_few_rows_at_a_time(backend, dtype, weighted, small_tiles, rng):
    X = blobs().astype(dtype)
    weights = rng.uniform(0, 2, size=len(X)).astype(dtype) if weighted else None
    mixture = KeOpsGaussianMixture(4, backend=backend, random_state=0).fit(X)
    data = as_source(X, weights).read(mixture, 1)
    means = GroupMeans(data, fitted_model(mixture), backend)
    groups = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1.0]])
    expected = np.average(mixture.predict_proba(X) @ groups, axis=0, weights=weights)
    tolerance = 1e-5 if dtype is np.float32 else 1e-10
    assert_allclose(means(largest, groups), expected, rtol=tolerance)


def test_answers_do_not_depend_on_tiles(small_tiles, monkeypatch):
    X = blobs()
    clustering = MixtureClustering(4, contamination=0.1, random_state=0).fit(X)
    labels, probabilities = clustering.predict(X), clustering.predict_proba(X)
    monkeypatch.undo()
    assert_array_equal(labels, clustering.predict(X))
    assert_allclose(probabilities, clustering.predict_proba(X), atol=1e-14)


def test_shares_of_labels():
    p = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]], dtype=torch.float64)
    assert label_shares(p, None).tolist() == [2, 1]
    weights = torch.tensor([[1.0], [5.0], [0.5]], dtype=torch.float64)
    assert label_shares(p, weights).tolist() == [1.5, 5]
