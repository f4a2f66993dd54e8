"""A basis in which most points are white, whatever a few of them do."""

from __future__ import annotations

import torch
from torch import Tensor

# Coordinates, and distances, that many medians away count as no farther.
_FAR = 8.0
# The largest of any coordinate: squares and sums of it are finite.
_LIMIT = 2.0**60
_ROUNDS = 2
# So many points tell what is typical: medians take longer than all the rest.
_SAMPLE_SIZE = 512


def whitening(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return W with ``cov(points @ W)`` near the identity, and its inverse.

    Rows that are farther than most are drawn in before they count: one at 1e20 would
    else take one direction for itself, and leave the others no width.

    Parameters
    ----------
    points : Tensor of shape (n, D), float64
    """
    few = points[:: -(-len(points) // _SAMPLE_SIZE)]
    centre = few.median(0).values
    points = points - centre
    size = _typical((few - centre).abs(), points.abs().amax(0))
    # Each coordinate at first by itself, for they may have sizes of their own.
    points = (points / size).clamp_(-_LIMIT, _LIMIT)
    basis, inverse = _white(points.clamp(-_FAR, _FAR))
    for _ in range(_ROUNDS):
        distances = torch.linalg.vector_norm(points @ basis, dim=1, keepdim=True)
        near = _reach_of_most(distances)
        if bool((distances <= near).all()):
            break
        basis, inverse = _white(points * (near / distances).clamp_max(1.0))
    return basis / size[:, None], inverse * size


def _reach_of_most(distances: Tensor) -> Tensor:
    """Return a distance within which all but outliers lie, never a quarter."""
    few = distances[:: -(-len(distances) // _SAMPLE_SIZE)]
    return torch.maximum(_FAR * _typical(few, distances.amax(0))[0], few.quantile(0.75))


def _typical(sizes: Tensor, largest: Tensor) -> Tensor:
    """Return the median of those that are not zero, of each column.

    If all are, the `largest` of more of them; 1 if that is zero, too.
    """
    medians = sizes.masked_fill(sizes == 0, torch.nan).nanmedian(0).values
    found = torch.where(medians.isnan(), largest, medians)
    return torch.where(found == 0, 1.0, found)


def _white(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the basis of centred points, and its inverse.

    Coordinates that are all zero stay themselves: what rounding would mix into them of
    the others is much beside components that are as flat there.
    """
    varies = (points != 0).any(0)
    if not bool(varies.all()):
        basis, inverse = torch.eye(len(varies)).to(points).repeat(2, 1, 1)
        own = varies.nonzero()[:, 0]
        if len(own):
            block = own[:, None], own
            basis[block], inverse[block] = _white(points[:, own])
        return basis, inverse
    covariance = torch.cov(points.mT).view(len(varies), -1)
    values, vectors = torch.linalg.eigh(covariance)
    # Directions without spread are left as wide as rounding makes them.
    floor = values.max().clamp_min(1e-300) * torch.finfo(torch.float32).eps
    roots = values.clamp_min(floor).sqrt()
    return vectors / roots, roots[:, None] * vectors.mT
