"""Noise that lies anywhere: a constant density beside the components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._model._span import Span

# Features that count are all wider than components by about as much; others are less
# wide by more than this, in logarithms.
_NARROWER = 1.0

_ALL_NOISE = (
    "Noise explains all samples, and none is left for components. Increase "
    "noise_volume, or fit without noise."
)


class AllNoiseError(ValueError):
    """Noise explains all samples, so that none is left for components."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args or (_ALL_NOISE,))  # the same from another process


@dataclass(frozen=True, eq=False)
class UniformNoise:
    """The same density everywhere, and a box to draw from.

    The density is one over the volume of the box, or over one that was given: that of
    a box as much larger, or smaller, along each feature that counts. Along one that is
    constant, or a linear function of others, it is that of components there. Of some of
    the features it is that of their sides alone.

    Attributes
    ----------
    low, high : Tensor of shape (D,), float64
        The box, on the CPU.
    log_density : float
    log_widths : Tensor of shape (D,), float64
        One over which is the density in each feature.
    span : Span or None
        In units of the box, if some features are linear functions of others: which are
        of those that are observed.
    """

    low: Tensor
    high: Tensor
    log_density: float
    log_widths: Tensor
    span: Span | None = None

    @classmethod
    def within(
        cls,
        low: Tensor,
        high: Tensor,
        volume: float | None,
        variances: Tensor,
        span: Span | None = None,
    ) -> UniformNoise:
        """Return the noise in a box, whose volume is another one if that is given.

        Parameters
        ----------
        low, high : Tensor of shape (D,), float64
        volume : float or None
            Of the features that count: that vary, and are no functions of others.
        variances : Tensor of shape (D,), float64
            What components have along a feature that is constant. There the density is
            the largest of such a normal distribution; it is 1 for a variance of 0.
        span : Span, default=None
        """
        counting = high > low
        widths = torch.where(counting, _log_widths(low, high), _log_peaks(variances))
        if span is not None:
            given = _variances_given(span, list(range(len(low))))
            counting = counting & given.isinf()
            widths = torch.where(given.isinf(), widths, widths + _log_peaks(given))
        if volume is not None:
            shared = counting if bool(counting.any()) else ~counting
            missing = math.log(volume) - float(widths[counting].sum())
            widths = widths + shared * (missing / shared.sum())
        return cls(low, high, -float(widths.sum()), widths, span)

    @classmethod
    def of_density(cls, low: Tensor, high: Tensor, log_density: float) -> UniformNoise:
        """Return the noise of such a density, which no constant feature changes."""
        volume = math.exp(-log_density)
        return cls.within(low, high, volume, torch.zeros_like(low))

    @cached_property
    def counting(self) -> Tensor:
        """Which features count, (D,) bool: no constants, nor functions of others."""
        varying = self.high > self.low
        if not bool(varying.any()):
            return varying
        factors = self.log_widths - _log_widths(self.low, self.high)
        return varying & (factors > factors[varying].max() - _NARROWER)

    @property
    def n_dependent(self) -> int:
        """How many features are linear functions of others."""
        return int(((self.high > self.low) & ~self.counting).sum())

    def spanned(self, covariance: np.ndarray) -> UniformNoise:
        """Return the same noise, with the span of features if some depend on others.

        Parameters
        ----------
        covariance : ndarray of shape (D, D)
            Of what is no noise.
        """
        span = span_in_box(self.low, self.high, covariance, self.n_dependent)
        return replace(self, span=span)

    def log_densities(self, points: Tensor) -> Tensor:
        """Return the log-density of what is observed of each of (N, D) points, (N,)."""
        if bool(points.sum().isnan()):
            observed = ~points.isnan()
            if self.span is not None:
                return self._of_patterns(observed.cpu()).to(points.device)
            return observed.double() @ -self.log_widths.to(points.device)
        return torch.full(
            (len(points),), self.log_density, dtype=torch.float64, device=points.device
        )

    def marginal(self, features: Sequence[int]) -> UniformNoise:
        """Return the noise of some features alone."""
        chosen = list(features)
        widths, span = self._widths(chosen), self.span
        if span is not None:
            some = span.covariance[np.ix_(chosen, chosen)]
            span = replace(span, covariance=some)
        low, high = self.low[chosen], self.high[chosen]
        return UniformNoise(low, high, -float(widths.sum()), widths, span)

    def condition(self, given: Sequence[int], targets: Sequence[int]) -> UniformNoise:
        """Return the noise of all other features, given some."""
        found = self.marginal(targets)
        if self.span is None:
            return found
        span = self.span.condition(given, targets)
        # Those that follow from what is given are narrow; the rest has what is left.
        variances = _variances_given(span, list(range(len(targets))))
        rest = variances.isinf() & (found.high > found.low)
        narrow = _log_peaks(variances) + _log_widths(found.low, found.high)
        widths = torch.where(variances.isinf(), found.log_widths, narrow)
        whole = -self.log_density - float(self._widths(list(given)).sum())
        if bool(rest.any()):
            widths = widths + rest * ((whole - widths.sum()) / rest.sum())
        return replace(
            found, log_density=-float(widths.sum()), log_widths=widths, span=span
        )

    def _widths(self, chosen: list[int]) -> Tensor:
        """Return what the density is one over in each of some features alone, (F,)."""
        if self.span is None:
            return self.log_widths[chosen]
        low, high = self.low[chosen], self.high[chosen]
        box = _log_widths(self.low, self.high)
        larger = (self.log_widths - box)[self.counting].mean()
        given = _variances_given(self.span, chosen)
        wide = torch.where(given.isinf(), larger, _log_peaks(given)) + box[chosen]
        wide = torch.where(high > low, wide, self.log_widths[chosen])
        counting = given.isinf() & (high > low)
        if int(counting.sum()) == int(self.counting.sum()):
            # All others follow, so that the density is that of all less what is left.
            whole = -self.log_density - self._log_peak_of_others(chosen, box)
            wide = wide + counting * ((whole - wide.sum()) / counting.sum())
        return wide

    def _log_peak_of_others(self, chosen: list[int], box: Tensor) -> float:
        """Return what others are one over given some features, in logarithms."""
        assert self.span is not None
        varying = self.high > self.low
        others = [i for i in range(len(box)) if i not in set(chosen)]
        constant = [i for i in others if not varying[i]]
        rest = [i for i in others if varying[i]]
        spread = 0.5 * self.span.log_det_given(rest, chosen)
        normal = 0.5 * len(rest) * math.log(2.0 * math.pi)
        sides = float(box[rest].sum() + self.log_widths[constant].sum())
        return spread + normal + sides

    def _of_patterns(self, observed: Tensor) -> Tensor:
        """Return the log-density of each of (N, D) rows of what is observed, (N,)."""
        patterns, of_rows = observed.unique(dim=0, return_inverse=True)
        widths = [self._widths(row.nonzero()[:, 0].tolist()).sum() for row in patterns]
        found: Tensor = -torch.stack(widths)[of_rows]
        return found

    def draw(self, n_samples: int, random_state: RandomState) -> np.ndarray:
        """Return points of the box, (n_samples, D), float64."""
        low, high = self.low.numpy(), self.high.numpy()
        return random_state.uniform(low, high, size=(n_samples, len(low)))

    def follow(
        self,
        points: np.ndarray,
        mean: np.ndarray,
        covariance: np.ndarray,
        random_state: RandomState,
    ) -> np.ndarray:
        """Return points, (N, D), with features that depend on others drawn given those.

        Parameters
        ----------
        points : ndarray of shape (N, D)
        mean : ndarray of shape (D,)
        covariance : ndarray of shape (D, D)
            Of what is no noise.
        random_state : RandomState
        """
        span = self.counting.numpy()
        rest = (self.high > self.low).numpy() & ~span
        slopes = np.linalg.solve(covariance[np.ix_(span, span)], covariance[span])
        left = (covariance - covariance[:, span] @ slopes)[np.ix_(rest, rest)]
        followed = mean[rest] + (points[:, span] - mean[span]) @ slopes[:, rest]
        scatter = random_state.multivariate_normal(
            np.zeros(len(left)), left, len(points), check_valid="ignore"
        )
        points = points.copy()
        points[:, rest] = followed + scatter
        return points


def span_in_box(
    low: Tensor, high: Tensor, covariance: np.ndarray, n_dependent: int
) -> Span:
    """Return the span of features in units of a box.

    Parameters
    ----------
    low, high : Tensor of shape (D,), float64
    covariance : ndarray of shape (D, D)
    n_dependent : int
        So many features are linear functions of others; one that is constant is none.
    """
    varying = (high > low).numpy()
    units = np.exp(_log_widths(low, high).numpy())
    scaled = covariance / units / units[:, None]
    scaled = np.where(varying & varying[:, None], scaled, np.eye(len(units)))
    return Span.of(scaled, n_dependent)


def _variances_given(span: Span, features: list[int]) -> Tensor:
    return torch.from_numpy(span.variances_given(features))


def _log_widths(low: Tensor, high: Tensor) -> Tensor:
    # Halves, as the difference may be more than a float can hold.
    halves = torch.where(high > low, 0.5 * high - 0.5 * low, 0.5)
    return halves.log() + math.log(2.0)


def _log_peaks(variances: Tensor) -> Tensor:
    """Return what normal densities are one over at their means, in logarithms."""
    peaks = 0.5 * (variances.log() + math.log(2.0 * math.pi))
    return torch.where(variances > 0, peaks, 0.0)
