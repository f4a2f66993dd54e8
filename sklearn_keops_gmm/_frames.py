"""Frames: where the origin and the unit of the computation lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_keops_gmm._parameters import Frame

_ROWS = 65536


@dataclass(frozen=True)
class Extent:
    """How far points reach.

    Attributes
    ----------
    n : int
        Their number.
    centre, low, high : Tensor of shape (D,), float64
        Their mean, their least and their greatest coordinates.
    """

    n: int
    centre: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """Return the extent of (N, D) `points`."""
        # Dividing first keeps the sum of numbers near the largest float finite.
        n = len(points)
        sums = [(tile.double() / n).sum(0) for tile in points.split(_ROWS)]
        low, high = points.amin(0).double(), points.amax(0).double()
        return cls(n, torch.stack(sums).sum(0), low, high)

    def __add__(self, other: Extent) -> Extent:
        n = self.n + other.n
        return Extent(
            n,
            self.centre * (self.n / n) + other.centre * (other.n / n),
            torch.minimum(self.low, other.low),
            torch.maximum(self.high, other.high),
        )

    def frame(self) -> Frame:
        """Return the frame centred on the mean of the points, which it scales to 1."""
        reach = torch.maximum(self.high - self.centre, self.centre - self.low).max()
        return Frame(self.centre, _power_of_two(float(reach)))


def frame_of_mixture(weights: Tensor, means: Tensor, covariances: Tensor) -> Frame:
    """Return the frame centred on the mean of a mixture, scaled to its extent.

    It depends on no data: the score of a row does not depend on the other rows.

    Parameters
    ----------
    weights : Tensor of shape (M,), float64
    means : Tensor of shape (M, D), float64
    covariances : Tensor, float64
        Of any structure; only its largest number is used.
    """
    centre = weights @ means / weights.sum()
    width = math.sqrt(float(covariances.max()))
    reach = float((means - centre).abs().max()) + width
    return Frame(centre, _power_of_two(reach))


def _power_of_two(reach: float) -> float:
    """Round down to a power of two: scaling by it is exact."""
    if not 0.0 < reach < math.inf:
        return 1.0
    return math.ldexp(1.0, math.frexp(reach)[1] - 1)
