"""Noise that lies anywhere: a constant density beside the components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor


@dataclass(frozen=True, eq=False)
class UniformNoise:
    """The same density everywhere, and a box to draw from.

    The density is one over the volume of the box, or over one that was given: that of
    a box as much larger, or smaller, along each feature. So are the densities of some
    of the features. Features that are constant have no part in the volume.

    Attributes
    ----------
    low, high : Tensor of shape (D,), float64
        The box, on the CPU.
    log_density : float
    """

    low: Tensor
    high: Tensor
    log_density: float

    @classmethod
    def within(cls, low: Tensor, high: Tensor, volume: float | None) -> UniformNoise:
        """Return the noise in a box, whose volume is another one if that is given."""
        own = float(_log_widths(low, high).sum())
        return cls(low, high, -own if volume is None else -math.log(volume))

    @cached_property
    def log_widths(self) -> Tensor:
        """Of what the density is that in, (D,); 0 where a feature is constant."""
        own = _log_widths(self.low, self.high)
        varying = self.high > self.low
        missing = -self.log_density - float(own.sum())
        if not bool(varying.any()):
            return own + missing / len(own)
        return own + varying * (missing / varying.sum())

    def log_densities(self, points: Tensor) -> Tensor:
        """Return the log-density of what is observed of each of (N, D) points, (N,)."""
        if bool(points.sum().isnan()):
            observed = (~points.isnan()).double()
            return observed @ -self.log_widths.to(points.device)
        return torch.full(
            (len(points),), self.log_density, dtype=torch.float64, device=points.device
        )

    def marginal(self, features: Sequence[int]) -> UniformNoise:
        """Return the noise of some features alone."""
        chosen = list(features)
        log_density = -float(self.log_widths[chosen].sum())
        return UniformNoise(self.low[chosen], self.high[chosen], log_density)

    def draw(self, n_samples: int, random_state: RandomState) -> np.ndarray:
        """Return points of the box, (n_samples, D), float64."""
        low, high = self.low.numpy(), self.high.numpy()
        return random_state.uniform(low, high, size=(n_samples, len(low)))


def _log_widths(low: Tensor, high: Tensor) -> Tensor:
    # Halves, as the difference may be more than a float can hold.
    halves = torch.where(high > low, 0.5 * high - 0.5 * low, 0.5)
    return halves.log() + math.log(2.0)
