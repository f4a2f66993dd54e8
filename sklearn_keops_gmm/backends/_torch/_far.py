"""Rows so far away that products of their coordinates would harm those of others.

A row is its own affair: however far it lies, the others' answers stay. Its products
would overflow, and infinity times a responsibility of zero is NaN in the sums of all;
or they would not, and take the last digits off sums in which bases mix directions. So
such rows are left out of tiles, and computed from differences, in double precision and
in the frame, where a row that is far in one direction is far in no other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._precision import limit_of_products
from sklearn_keops_gmm.backends._torch._coordinates import Coordinates
from sklearn_keops_gmm.backends._torch._direct import Direct
from sklearn_keops_gmm.backends._torch._structures import structure_of

# Numbers in the largest array of some rows.
_NUMBERS = 2**18


class Located(NamedTuple):
    """Points in coordinates, but those far away, which stay at the origin.

    Attributes
    ----------
    points : Tensor of shape (D, n)
    far : Tensor of int64, or None
        Which are far away, if any.
    """

    points: Tensor
    far: Tensor | None

    @classmethod
    def of(cls, points: Tensor) -> Located:
        """Find, and overwrite, the far ones among (D, n) points in coordinates.

        The square of a coordinate, rounded, is wrong by more than the tolerance there.
        """
        limit = limit_of_products(points.dtype)
        # Of what is not contiguous torch would make a copy.
        low, high = (points if points.is_contiguous() else points.mT).aminmax()
        # Also False for NaN.
        if bool((low >= -limit) & (high <= limit)):
            return cls(points, None)
        far = (~(points.abs() <= limit)).any(0).nonzero()[:, 0]
        points[:, far] = 0.0
        return cls(points, far)

    def some(self, rows: slice) -> Located:
        """Return those of some rows."""
        points, far = self.points[:, rows], self.far
        if far is not None:
            far = far[(far >= rows.start) & (far < rows.stop)] - rows.start
            far = far if len(far) else None
        return Located(points, far)


@dataclass(frozen=True)
class Far:
    """Components for rows that are far away.

    Attributes
    ----------
    components : Components
        In no frame, of any structure but "tied".
    coordinates : Coordinates
        Of which the frame is used.
    """

    components: Components
    coordinates: Coordinates

    @property
    def _direct(self) -> Direct:
        return structure_of(self.components).direct

    @cached_property
    def _framed(self) -> Components:
        return self.components.in_frame(self.coordinates.frame)

    def logits(self, points: Tensor) -> Tensor:
        """Return log2 p_ij, (M, n), in float64, of (n, D) points as they were given."""
        parts = [self._logits(some) for _, some in self._some(points)]
        return torch.cat(parts, 1) * math.log2(math.e)

    def moments(self, points: Tensor, responsibilities: Tensor) -> Moments:
        """Return moments of points as they were given; their log-likelihood is left 0.

        Parameters
        ----------
        points : Tensor of shape (n, D)
        responsibilities : Tensor of shape (M, n)
            Times the sample weights.
        """
        used = (responsibilities != 0).any(0)
        points, responsibilities = points[used], responsibilities[:, used].double()
        framed = self._framed
        mass, first = responsibilities.sum(1), torch.zeros_like(framed.means)
        second = torch.zeros_like(framed.factors)
        for rows, some in self._some(points):
            differences = some - framed.means[:, :, None]
            weighted = differences * responsibilities[:, None, rows]
            first += weighted.sum(2)
            second += self._direct.second(weighted, differences)
        moments = Moments(mass, first, second, 0.0)
        return moments.from_frame(self.coordinates.frame)

    def _logits(self, points: Tensor) -> Tensor:
        """Return log p_ij, (M, n), of (D, n) points in the frame."""
        framed = self._framed
        # Scaled, for infinity less infinity, within a product of matrices, is NaN.
        size = points.abs().amax(0).clamp_min(1.0)
        differences = points / size - framed.means[:, :, None] / size
        out = torch.empty_like(differences)
        whitened = self._direct.whiten(framed.factors, differences, out)
        distances = whitened.square_().sum(1).sqrt_().mul_(size)
        return framed.offsets[:, None] - 0.5 * distances.square_()

    def _some(self, points: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Go through rows, a few at a time, in the frame: (D, n)."""
        n_rows = max(1, _NUMBERS // self._framed.means.numel())
        for start in range(0, len(points), n_rows):
            rows = slice(start, start + n_rows)
            yield rows, self.coordinates.in_frame(points[rows]).mT
