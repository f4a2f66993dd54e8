"""Features that are linear functions of others, and how narrow samples lie across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Span:
    """Which of some features are linear functions of others among them.

    Others span them: those are taken first that vary most given what was taken, so
    that neither the order of features nor their units matter.

    Attributes
    ----------
    covariance : ndarray of shape (D, D)
        Of features in units in which they are alike, with what is added to variances.
    least : float
        What varies less, given those before, is a linear function of them.
    """

    covariance: np.ndarray
    least: float

    @classmethod
    def of(cls, covariance: np.ndarray, n_dependent: int) -> Span:
        """Return the span in which so many features are functions of others."""
        _, left = _pivots(covariance, range(len(covariance)))
        n_spanning = len(left) - n_dependent
        # Between what the last of them adds and what is left, however much each is.
        around = np.maximum(left[n_spanning - 1 : n_spanning + 1], np.finfo(float).tiny)
        return cls(covariance, float(np.exp(np.log(around).mean())))

    def variances_given(self, features: Sequence[int]) -> np.ndarray:
        """Return the variances, (F,), given the features that span; infinite for those.

        Parameters
        ----------
        features : sequence of F int
            Among these alone some span the others.
        """
        order, left = _pivots(self.covariance, features)
        found = np.empty(len(order))
        found[order] = np.where(left > self.least, np.inf, left)
        return found

    def condition(self, given: Sequence[int], targets: Sequence[int]) -> Span:
        """Return the span of some features, given others."""
        rows, columns = list(targets), list(given)
        across = self.covariance[np.ix_(rows, columns)]
        known = self.covariance[np.ix_(columns, columns)]
        explained = across @ np.linalg.lstsq(known, across.T, rcond=None)[0]
        own = self.covariance[np.ix_(rows, rows)]
        return Span(own - explained, self.least)

    def log_det_given(self, targets: Sequence[int], given: Sequence[int]) -> float:
        """Return the log-determinant of the covariance of features given others."""
        _, before = _pivots(self.covariance, given)
        _, both = _pivots(self.covariance, [*given, *targets])
        tiny = np.finfo(float).tiny
        before, both = (np.log(np.maximum(left, tiny)).sum() for left in (before, both))
        return float(both - before)


def _pivots(
    covariance: np.ndarray, features: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return an order of features, (F,), and the variance of each given those before.

    That is Cholesky's factorisation with pivots.
    """
    chosen = list(features)
    rest = covariance[np.ix_(chosen, chosen)].copy()
    order, left = np.arange(len(chosen)), np.zeros(len(chosen))
    for k in range(len(chosen)):
        # Of what is alike but for rounding the first.
        varying = rest.diagonal()[order[k:]]
        best = k + int((varying >= varying.max() * (1 - 1e-6)).argmax())
        order[k : best + 1] = np.roll(order[k : best + 1], 1)
        at = order[k]
        left[k] = max(0.0, rest[at, at])
        if left[k] > 0:
            rest -= np.outer(rest[:, at], rest[at]) / rest[at, at]
    return order, left
