"""Which components are each other's neighbours."""

import numpy as np
import pytest
import torch

from sklearn_keops_gmm._model import neighbouring_pairs


@pytest.mark.parametrize("n_components", [2, 64, 65, 90, 600])
def test_neighbours_are_the_nearest_means(n_components, rng):
    """All of few, of many the sixteen nearest, each pair once and in order."""
    means = rng.normal(size=(n_components, 3)) * [1.0, 100.0, 0.01]
    found = neighbouring_pairs(torch.from_numpy(means)).numpy()
    scaled = means / means.std(0)
    distances = np.linalg.norm(scaled[:, None] - scaled, axis=2)
    np.fill_diagonal(distances, np.inf)
    n_near = n_components - 1 if n_components <= 64 else 16
    near = np.argsort(distances, axis=1)[:, :n_near]
    pairs = {(min(i, j), max(i, j)) for i, row in enumerate(near) for j in row.tolist()}
    assert found.tolist() == sorted(map(list, pairs))
