"""Frames: where the origin and the unit of the computation lie.

The origin is a median, not a mean: a few rows far away, as those of a fill value, would
drag a mean along, and leave no digits for the differences between all others.

For the same reason the unit is about how far most points reach. That of all would leave
most with squares that underflow, if one row lies at 1e20; that of most would let the
square of this row overflow. Where both cannot be had, most are heeded.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import Frame

# What reaches so many times as far as most does not set the unit.
_FAR = 2.0**10


def frame_of_mixture(weights: Tensor, means: Tensor, covariances: Tensor) -> Frame:
    """Return the frame centred on the median of the means, scaled to their extent.

    It depends on no data: the score of a row does not depend on the other rows.

    Parameters
    ----------
    weights : Tensor of shape (M,), float64
    means : Tensor of shape (M, D), float64
    covariances : Tensor, float64
        Of any structure; only its largest numbers are used.
    """
    order = means.argsort(0)  # (M, D)
    below = weights[order].cumsum(0) < 0.5 * weights.sum()
    middle = below.sum(0, keepdim=True).clamp_max(len(means) - 1)  # (1, D)
    centre = means.gather(0, order.gather(0, middle))[0]
    # Shared covariances may have as many rows as there are components: no harm is done.
    each = len(covariances) == len(means)
    largest = covariances.reshape(len(means) if each else 1, -1).amax(1)
    reaches = (means - centre).abs().amax(1) + largest.sqrt()
    most = reach_of_most(reaches, weights)
    # Rows may be of either precision; those of float32 have less room.
    return Frame(centre, unit_of(float(reaches.max()), most, torch.float32))


def power_of_two(reach: float) -> float:
    """Round down to a power of two: scaling by it is exact."""
    if not 0.0 < reach < math.inf:
        return 1.0
    return math.ldexp(1.0, math.frexp(reach)[1] - 1)


def unit_of_points(reach: float, reaches: np.ndarray, dtype: torch.dtype) -> float:
    """Return the unit for points that reach so far, by the reaches, (n,), of some.

    Those at the origin do not count. An order of the others is made only where it is
    not plain that most reach far enough.
    """
    n_far = np.count_nonzero(reaches >= reach / _FAR)
    if 4 * n_far > np.count_nonzero(reaches):
        return power_of_two(reach)
    distances = torch.from_numpy(reaches)
    most = reach_of_most(distances, (distances > 0).double())
    return unit_of(reach, most, dtype)


def reach_of_most(reaches: Tensor, weights: Tensor) -> float:
    """Return a reach, of (n,), that three quarters of the weight do not exceed."""
    ordered, order = reaches.sort()
    below = weights[order].cumsum(0) < 0.75 * weights.sum()
    return float(ordered[min(int(below.sum()), len(ordered) - 1)])


def unit_of(reach: float, most: float, dtype: torch.dtype) -> float:
    """Return the unit for points of which all reach so far, and most no farther."""
    if reach <= _FAR * most or most == 0.0:
        return power_of_two(reach)
    # As an exponent, half of it is that of numbers whose squares are finite.
    room = math.frexp(torch.finfo(dtype).max)[1]
    unit = max(_FAR * most, math.ldexp(reach, 6 - room // 2))
    unit = min(unit, most * 2.0 ** (room // 2 - 14))  # infinity at most
    return power_of_two(max(unit, math.ldexp(reach, 8 - room)))
