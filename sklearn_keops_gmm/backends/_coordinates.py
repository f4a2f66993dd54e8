"""Coordinates in which the expanded form loses the fewest digits.

Matrices of quadratic forms are nearly diagonal where the data are white; there the
terms of the expanded form have no reason to be much larger than their sum.
"""

from __future__ import annotations

from copy import copy
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

    def to(self, device: torch.device) -> Coordinates:
        """Return the same coordinates on another device."""
        if device == self._centre.device:
            return self
        moved = copy(self)
        moved._frame = self._frame.to(device)
        moved._centre = self._centre.to(device)
        if self._basis is not None and self._inverse is not None:
            moved._basis = self._basis.to(device)
            moved._inverse = self._inverse.to(device)
        return moved

    def _in_frame(self, points: Tensor) -> Tensor:
        return (points - self._centre) / self._frame.scale


class CoordinatesOf:
    """Coordinates for some points, of either kind, each made when it is asked for.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    frame : Frame
    """

    def __init__(self, points: Tensor, frame: Frame) -> None:
        self._points = points
        self._frame = frame
        self._made: dict[bool, Coordinates] = {}

    def __call__(self, structure: str) -> Coordinates:
        """Return the coordinates for components of a structure."""
        whiten = structure in ("full", "tied")
        if whiten not in self._made:
            self._made[whiten] = Coordinates(self._points, self._frame, whiten)
        return self._made[whiten]

    def settled(self, structure: str) -> CoordinatesOf:
        """Return the same for one structure, made, and without the points."""
        found = CoordinatesOf(self._points[:0].clone(), self._frame)
        found._made = {structure in ("full", "tied"): self(structure)}
        return found

    def to(self, device: torch.device) -> CoordinatesOf:
        """Return what was made on another device."""
        found = CoordinatesOf(self._points, self._frame)
        found._made = {kind: made.to(device) for kind, made in self._made.items()}
        return found


def _whitening(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return W with ``cov(points @ W)`` near the identity, and its inverse."""
    values, vectors = torch.linalg.eigh(torch.cov(points.mT))
    # Directions without spread are left as wide as rounding makes them.
    floor = values.max().clamp_min(1e-300) * torch.finfo(torch.float32).eps
    roots = values.clamp_min(floor).sqrt()
    return vectors / roots, roots[:, None] * vectors.mT
