"""Noise that lies anywhere: a constant density beside the components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor


@dataclass(frozen=True, eq=False)
class UniformNoise:
    """The same density everywhere, and a box to draw from.

    The density is one over the volume of the box, or over one that was given: that of
    a box as much larger, or smaller, along each feature that varies. Along one that is
    constant it is that of components there. Of some of the features it is that of their
    sides alone.

    Attributes
    ----------
    low, high : Tensor of shape (D,), float64
        The box, on the CPU.
    log_density : float
    log_widths : Tensor of shape (D,), float64
        One over which is the density in each feature.
    """

    low: Tensor
    high: Tensor
    log_density: float
    log_widths: Tensor

    @classmethod
    def within(
        cls, low: Tensor, high: Tensor, volume: float | None, variances: Tensor
    ) -> UniformNoise:
        """Return the noise in a box, whose volume is another one if that is given.

        Parameters
        ----------
        low, high : Tensor of shape (D,), float64
        volume : float or None
            Of the features that vary.
        variances : Tensor of shape (D,), float64
            What components have along a feature that is constant. There the density is
            the largest of such a normal distribution; it is 1 for a variance of 0.
        """
        varying = high > low
        widths = torch.where(varying, _log_widths(low, high), _log_peaks(variances))
        if volume is not None:
            shared = varying if bool(varying.any()) else ~varying
            missing = math.log(volume) - float(widths[varying].sum())
            widths = widths + shared * (missing / shared.sum())
        return cls(low, high, -float(widths.sum()), widths)

    @classmethod
    def of_density(cls, low: Tensor, high: Tensor, log_density: float) -> UniformNoise:
        """Return the noise of such a density, which no constant feature changes."""
        volume = math.exp(-log_density)
        return cls.within(low, high, volume, torch.zeros_like(low))

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
        widths = self.log_widths[chosen]
        low, high = self.low[chosen], self.high[chosen]
        return UniformNoise(low, high, -float(widths.sum()), widths)

    def draw(self, n_samples: int, random_state: RandomState) -> np.ndarray:
        """Return points of the box, (n_samples, D), float64."""
        low, high = self.low.numpy(), self.high.numpy()
        return random_state.uniform(low, high, size=(n_samples, len(low)))


def _log_widths(low: Tensor, high: Tensor) -> Tensor:
    # Halves, as the difference may be more than a float can hold.
    halves = torch.where(high > low, 0.5 * high - 0.5 * low, 0.5)
    return halves.log() + math.log(2.0)


def _log_peaks(variances: Tensor) -> Tensor:
    """Return what normal densities are one over at their means, in logarithms."""
    peaks = 0.5 * (variances.log() + math.log(2.0 * math.pi))
    return torch.where(variances > 0, peaks, 0.0)
