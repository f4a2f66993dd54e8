"""Coordinates in which the expanded form loses the fewest digits.

Matrices of quadratic forms are nearly diagonal where the data are white; there the
terms of the expanded form have no reason to be much larger than their sum.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments
from sklearn_keops_gmm.backends._precision import limit_of_products
from sklearn_keops_gmm.backends._torch._structures import TORCH_STRUCTURES
from sklearn_keops_gmm.backends._torch._whitening import whitening

_SAMPLE = 2048
# What stands for farther coordinates, of which a difference would be infinite.
_FARTHEST = 1e300


class Coordinates:
    """A frame, and for matrix structures a basis in which the data are white.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        Some of them tell what white means.
    frame : Frame
    whiten : bool
        Diagonal and spherical structures allow no other basis than their own.

    Attributes
    ----------
    frame : Frame
        The one given, its centre rounded as the points are.
    """

    def __init__(self, points: Tensor, frame: Frame, whiten: bool) -> None:
        # Points and means have to be moved by the very same numbers.
        self.frame = replace(frame, centre=frame.centre.to(points.dtype).double())
        self._centre = frame.centre.to(points.dtype)
        self._basis = self._inverse = None
        n, n_features = points.shape
        if whiten and 1 < n_features < n:
            sample = points[:: max(1, n // _SAMPLE)]
            self._basis, self._inverse = whitening(self.in_frame(sample))

    def of_points(self, points: Tensor) -> Tensor:
        """Return (n, D) points in these coordinates, in their own dtype."""
        in_frame = (points - self._centre) / self.frame.scale
        if self._basis is None:
            return in_frame
        return (in_frame.double() @ self._basis).to(points.dtype)

    def of_components(self, components: Components) -> Components:
        """Return the same components for points in these coordinates."""
        components = components.in_frame(self.frame)
        if self._basis is None or self._inverse is None:
            return components
        return replace(
            components,
            means=components.means @ self._basis,
            factors=self._inverse @ components.factors,
        )

    def suit(self, components: Components) -> bool:
        """Tell whether `components` can be computed with in these coordinates.

        A basis mixes features: of second moments about a mean that is far away, in one
        of them perhaps, it would take the last digits off all entries. And where all
        points are far away, it makes components so narrow that products overflow.
        """
        if self._basis is None:
            return True
        found, dtype = self.of_components(components), self._centre.dtype
        # Also False for NaN.
        return bool(
            (found.means.abs().max() <= limit_of_products(dtype))
            & (found.factors.abs().max() <= torch.finfo(dtype).max ** 0.5)
        )

    def moments_back(self, moments: Moments) -> Moments:
        """Return moments that were summed in these coordinates in the original ones."""
        if self._inverse is not None:
            second = self._inverse.mT @ moments.second @ self._inverse
            first = moments.first @ self._inverse
            moments = replace(moments, first=first, second=second)
        return moments.from_frame(self.frame)

    def to(self, device: torch.device) -> Coordinates:
        """Return the same coordinates on another device."""
        if device == self._centre.device:
            return self
        moved = copy(self)
        moved.frame = self.frame.to(device)
        moved._centre = self._centre.to(device)
        if self._basis is not None and self._inverse is not None:
            moved._basis = self._basis.to(device)
            moved._inverse = self._inverse.to(device)
        return moved

    def in_frame(self, points: Tensor) -> Tensor:
        """Return (n, D) points in the frame, but in no other basis, in float64."""
        moved = (points.double() - self.frame.centre) / self.frame.scale
        return moved.clamp_(-_FARTHEST, _FARTHEST)


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
        """Return the coordinates for most components of a structure."""
        return self._of(TORCH_STRUCTURES[structure].whitens)

    def suited(self, components: Components) -> Coordinates:
        """Return the coordinates for some components."""
        found = self(components.structure)
        return found if found.suit(components) else self._of(False)

    def _of(self, whiten: bool) -> Coordinates:
        if whiten not in self._made:
            self._made[whiten] = Coordinates(self._points, self._frame, whiten)
        return self._made[whiten]

    def settled(self, structure: str) -> CoordinatesOf:
        """Return the same for one structure, made, and without the points."""
        found = CoordinatesOf(self._points[:0].clone(), self._frame)
        found._made = {False: self._of(False)}
        found._made[TORCH_STRUCTURES[structure].whitens] = self(structure)
        return found

    def to(self, device: torch.device) -> CoordinatesOf:
        """Return what was made on another device."""
        found = CoordinatesOf(self._points, self._frame)
        found._made = {kind: made.to(device) for kind, made in self._made.items()}
        return found
