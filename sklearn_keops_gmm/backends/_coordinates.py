"""Coordinates in which the expanded form loses the fewest digits.

Matrices of quadratic forms are nearly diagonal where the data are white; there the
terms of the expanded form have no reason to be much larger than their sum.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sklearn_keops_gmm._parameters import Components, Frame, Moments

_SAMPLE = 4096


class Coordinates:
    """A frame, and for matrix structures a basis in which the data are white.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        Some of them tell what white means.
    frame : Frame
    whiten : bool
        Diagonal and spherical structures allow no other basis than their own.
    """

    def __init__(self, points: Tensor, frame: Frame, whiten: bool) -> None:
        # Points and means have to be moved by the very same numbers.
        self._frame = replace(frame, centre=frame.centre.to(points.dtype).double())
        self._centre = frame.centre.to(points.dtype)
        self._basis = self._inverse = None
        n, n_features = points.shape
        if whiten and 1 < n_features < n:
            sample = points[:: max(1, n // _SAMPLE)]
            self._basis, self._inverse = _whitening(self._in_frame(sample).double())

    def of_points(self, points: Tensor) -> Tensor:
        """Return (n, D) points in these coordinates, in their own dtype."""
        in_frame = self._in_frame(points)
        if self._basis is None:
            return in_frame
        return (in_frame.double() @ self._basis).to(points.dtype)

    def of_components(self, components: Components) -> Components:
        """Return the same components for points in these coordinates."""
        components = components.in_frame(self._frame)
        if self._basis is None or self._inverse is None:
            return components
        return replace(
            components,
            means=components.means @ self._basis,
            factors=self._inverse @ components.factors,
        )

    def moments_back(self, moments: Moments) -> Moments:
        """Return moments that were summed in these coordinates in the original ones."""
        if self._inverse is not None:
            second = self._inverse.mT @ moments.second @ self._inverse
            first = moments.first @ self._inverse
            moments = replace(moments, first=first, second=second)
        return moments.from_frame(self._frame)

    def _in_frame(self, points: Tensor) -> Tensor:
        return (points - self._centre) / self._frame.scale


def _whitening(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return W with ``cov(points @ W)`` near the identity, and its inverse."""
    values, vectors = torch.linalg.eigh(torch.cov(points.mT))
    # Directions without spread are left as wide as rounding makes them.
    floor = values.max().clamp_min(1e-300) * torch.finfo(torch.float32).eps
    roots = values.clamp_min(floor).sqrt()
    return vectors / roots, roots[:, None] * vectors.mT
