"""The density along ridge lines, on which all saddles between two Gaussians lie.

S. Ray and B. G. Lindsay, "The topography of multivariate normal mixtures", The Annals
of Statistics 33 (2005).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel

# So many points on each line.
_STEPS = 41


def saddles(model: GaussianMixtureModel) -> tuple[np.ndarray, np.ndarray]:
    """Return how high the density is between components, and at them.

    Returns
    -------
    lowest : ndarray of shape (M, M)
        The logarithm of the lowest density of the mixture on the ridge line between
        two components.
    peaks : ndarray of shape (M,)
        The logarithm of the density at their means.
    """
    means = model.parameters.means.double()
    precisions = torch.linalg.inv(model.matrices.double())
    precisions = (precisions + precisions.mT) / 2
    log_weights = model.parameters.weights.double().log()
    density = _LogDensity(log_weights, means, precisions)
    lowest = torch.empty(len(means), len(means), dtype=torch.float64)
    for i in range(len(means)):
        heights = density(_ridge_lines(means, precisions, i).flatten(0, 1))
        lowest[i] = heights.view(len(means), _STEPS).amin(dim=1)
    lowest = torch.maximum(lowest, lowest.mT)
    return lowest.numpy(), density(means).numpy()


def _ridge_lines(means: Tensor, precisions: Tensor, i: int) -> Tensor:
    """Return points on the lines from one component to all, (M, steps, D)."""
    share = torch.linspace(0, 1, _STEPS, dtype=torch.float64)[:, None, None]
    here, there = precisions[i], precisions[:, None]
    pulls = (precisions @ means[..., None])[:, None]  # (M, 1, D, 1)
    matrices = (1 - share) * here + share * there  # (M, steps, D, D)
    vectors = (1 - share) * pulls[i] + share * pulls
    return torch.linalg.solve(matrices, vectors)[..., 0]


class _LogDensity:
    """The logarithm of the density of a mixture at a few points."""

    def __init__(self, log_weights: Tensor, means: Tensor, precisions: Tensor) -> None:
        n_features = means.shape[1]
        self._means, self._factors = means, torch.linalg.cholesky(precisions)
        log_determinants = self._factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant = 0.5 * n_features * np.log(2 * np.pi)
        self._levels = log_weights + log_determinants - constant

    def __call__(self, points: Tensor) -> Tensor:
        terms = [
            level - 0.5 * (((points - mean) @ factor) ** 2).sum(dim=1)
            for level, mean, factor in zip(
                self._levels, self._means, self._factors, strict=True
            )
        ]
        return torch.stack(terms).logsumexp(dim=0)
