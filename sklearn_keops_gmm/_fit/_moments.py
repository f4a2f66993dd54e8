"""Moments about other means than those that they were summed about."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sklearn_keops_gmm._model import Moments
from sklearn_keops_gmm._model.covariances import MASS_FLOOR, CovarianceStructure


def about(moments: Moments, shift: Tensor, covariance: CovarianceStructure) -> Moments:
    """Return moments about means that are nearer by a `shift`, (M, D).

    Parameters
    ----------
    moments : Moments
    shift : Tensor of shape (M, D)
        The means that they are about, less those that they are to be about.
    covariance : CovarianceStructure
    """
    roots = moments.mass.clamp_min(MASS_FLOOR).sqrt()[:, None]
    offsets = moments.first / roots
    moved = covariance.outer(offsets + roots * shift) - covariance.outer(offsets)
    return replace(
        moments,
        first=moments.first + moments.mass[:, None] * shift,
        second=moments.second + covariance.pool(moved),
    )
