"""Components without a width."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm._model.covariances import MASS_FLOOR, CovarianceStructure

# A variance that, beside that of the whole mixture, is none.
_COLLAPSED = 1e-24


def variances_of(
    covariance: CovarianceStructure, parameters: MixtureParameters
) -> Tensor:
    """Return the variances of the features in each component, (M, D)."""
    matrices = covariance.matrices(parameters.covariances, parameters.means)
    return torch.diagonal(matrices, dim1=-2, dim2=-1)


def has_width(covariance: CovarianceStructure, parameters: MixtureParameters) -> Tensor:
    """Tell, (M,) bool, which components have variances with a finite inverse."""
    variances = variances_of(covariance, parameters)
    return (variances > torch.finfo(variances.dtype).tiny).all(1)


def has_collapsed(
    covariance: CovarianceStructure,
    parameters: MixtureParameters,
    start: MixtureParameters,
    n_samples: int,
) -> bool:
    """Tell whether a variance is nothing beside that of the whole mixture at the start.

    Or that of a single sample is what the floor of its mass has made of it.
    """
    weights, means = start.weights[:, None], start.means
    own = variances_of(covariance, start)
    whole = (weights * ((means - (weights * means).sum(0)) ** 2 + own)).sum(0)
    variances = variances_of(covariance, parameters)
    counts = parameters.proportions * n_samples
    floors = 4 * MASS_FLOOR * parameters.means**2
    alone = (counts < 1.5)[:, None] & (variances <= floors)
    return not bool((~alone & (variances > _COLLAPSED * whole)).all())
