"""Further along the way that two steps of EM point, as in SQUAREM."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# Weights below count as this much in the lengths of steps.
_LEAST = 1e-16
# No width changes by more than a factor of e^10 at once.
_WIDEST = 10.0


class Extrapolation(NamedTuple):
    """Where two steps point.

    Attributes
    ----------
    unknowns : tuple of Tensor
        Log-weights, means and triangular factors of the precisions.
    length : float
        How far that is: 1 is the second step itself.
    """

    unknowns: tuple[Tensor, Tensor, Tensor]
    length: float


def extrapolate(
    covariance: CovarianceStructure,
    track: tuple[MixtureParameters, MixtureParameters, MixtureParameters],
    longest: float,
) -> Extrapolation | None:
    """Extrapolate two steps, by the third step length of Varadhan and Roland (2008).

    Steps are measured from the first mixture, and so have no units: logarithms of
    weights, moves of means in standard deviations of their components, and factors
    relative to those of the first, each by the curvature that the cost would have
    there if it were known which sample is from which component.

    Parameters
    ----------
    covariance : CovarianceStructure
    track : tuple of MixtureParameters
        A mixture and two steps from it.
    longest : float
        The length is at most this, and at least 1.

    Returns
    -------
    extrapolation : Extrapolation or None
        None where there is nothing to extrapolate, or a component has died.
    """
    origin, middle, end = track
    if len({len(mixture.weights) for mixture in track}) > 1:
        return None
    n_features = origin.means.shape[1]
    roots = origin.weights.clamp_min(_LEAST).sqrt()
    bend = covariance.curvature(roots**2, n_features).sqrt()
    scales = torch.cat((roots, roots.repeat_interleave(n_features), bend))
    sizes = [len(roots), len(roots) * n_features, len(bend)]

    def vector(mixture: MixtureParameters) -> Tensor:
        factors = origin.precisions_cholesky
        parts = (
            mixture.weights.log() - origin.weights.log(),
            covariance.whitened(factors, mixture.means - origin.means).flatten(),
            covariance.steps(factors, mixture.precisions_cholesky),
        )
        return torch.cat(parts) * scales

    first, both = vector(middle), vector(end)
    change = both - 2.0 * first
    length = float(first.norm() / change.norm())
    if not length > 1.0:  # also NaN, of weights that are zero
        return None
    length = min(length, longest)
    leap = (2.0 * length * first + length**2 * change) / scales
    logs, moves, steps = leap.split(sizes)
    if not bool(steps.abs().max() < _WIDEST):
        return None
    factors = origin.precisions_cholesky
    moves = moves.reshape(origin.means.shape)
    unknowns = (
        origin.weights.log() + logs,
        origin.means + covariance.displacements(factors, moves),
        covariance.moved(factors, steps),
    )
    return Extrapolation(unknowns, length)
