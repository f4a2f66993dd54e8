"""Frames: where the origin and the unit of the computation lie.

The origin is a median, not a mean: a few rows far away, as those of a fill value, would
drag a mean along, and leave no digits for the differences between all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_keops_gmm._parameters import Frame

# So many points tell where their middle is, about.
_SAMPLE = 4096


@dataclass(frozen=True)
class Extent:
    """How far points reach; that of all is the sum of those of parts.

    Attributes
    ----------
    low, high : Tensor of shape (D,), float64
        Their least and their greatest coordinates.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """Return the extent of (N, D) `points`."""
        return cls(points.amin(0).double(), points.amax(0).double())

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            torch.minimum(self.low, other.low), torch.maximum(self.high, other.high)
        )

    def frame(self, some: Tensor) -> Frame:
        """Return the frame centred on the median of `some` points, (n, D).

        Its unit is about how far the points reach, all of them.
        """
        sample = some[:: -(-len(some) // _SAMPLE)]
        centre = sample.median(0).values.double()
        reach = torch.maximum(self.high - centre, centre - self.low).max()
        return Frame(centre, _power_of_two(float(reach)))


def frame_of_mixture(weights: Tensor, means: Tensor, covariances: Tensor) -> Frame:
    """Return the frame centred on the median of the means, scaled to the extent.

    It depends on no data: the score of a row does not depend on the other rows.

    Parameters
    ----------
    weights : Tensor of shape (M,), float64
    means : Tensor of shape (M, D), float64
    covariances : Tensor, float64
        Of any structure; only its largest number is used.
    """
    order = means.argsort(0)  # (M, D)
    below = weights[order].cumsum(0) < 0.5 * weights.sum()
    middle = below.sum(0, keepdim=True).clamp_max(len(means) - 1)  # (1, D)
    centre = means.gather(0, order.gather(0, middle))[0]
    width = math.sqrt(float(covariances.max()))
    reach = float((means - centre).abs().max()) + width
    return Frame(centre, _power_of_two(reach))


def _power_of_two(reach: float) -> float:
    """Round down to a power of two: scaling by it is exact."""
    if not 0.0 < reach < math.inf:
        return 1.0
    return math.ldexp(1.0, math.frexp(reach)[1] - 1)
