"""How far a log-density may be from the truth, and no further.

A coordinate is rounded where it lies relative to the centre of the frame, which is a
median of the means. So whitened differences ``p = A^T (x - m)`` are off by
``delta = (D + 4) eps |A|^T (|x - c| + |m - c|)``, and half their squares by
``|p| delta + delta^2 / 2``, besides the rounding of the sums. The torch backend may
expand the squares where one of the terms that cancel loses less than its tolerance: of
``m P m / 2``, ``x P m`` and ``x P x / 2``, and their rounded coefficients, four times
that is added; for a sample so many widths away, as many times squared.
"""

from typing import NamedTuple

import numpy as np

from tests import reference
from tests.reference import Wide

# What the expanded form of the torch backend may lose: four times what a term may.
_EXPANDED = {np.float64: 4e-9, np.float32: 4e-3}


class Expected(NamedTuple):
    """What a mixture says about n points, in long double.

    Attributes
    ----------
    terms : ndarray of shape (n, M)
        log p_ij.
    log_density : ndarray of shape (n,)
    rounding : ndarray of shape (n, M)
        Bounds on the errors of the terms.
    low, high : ndarray of shape (n,)
        Between which the log-density of those is.
    representable : ndarray of shape (n,), bool
        Whether the log-density is well within the range of the dtype.
    """

    terms: np.ndarray
    log_density: np.ndarray
    rounding: np.ndarray
    low: np.ndarray
    high: np.ndarray
    representable: np.ndarray

    @property
    def slack(self):
        """How far off the log-densities may be, (n,)."""
        return np.maximum(self.high - self.log_density, self.log_density - self.low)


def expected(points, structure, mixture, factors):
    """Return what is to be expected, `points` in the dtype that is computed with."""
    weights, means = mixture.weights.astype(float), mixture.means.astype(float)
    factors = factors.astype(float)
    offsets = reference.offsets_of(structure, weights, means, factors)
    terms = reference.pair_terms(points, structure, offsets, means, factors)
    rounding = _rounding(points, structure, offsets, weights, means, factors)
    dtype = points.dtype.type
    with np.errstate(invalid="ignore"):
        distances = np.nan_to_num(abs(terms - offsets))
    rounding += _EXPANDED[dtype] * (1 + distances)
    found = reference.log_sum_exp(terms)
    last_digit = 4 * np.finfo(dtype).eps * (1 + abs(found))
    return Expected(
        terms,
        found,
        rounding,
        reference.log_sum_exp(terms - rounding) - last_digit,
        reference.log_sum_exp(terms + rounding) + last_digit,
        found > -0.1 * np.finfo(dtype).max,
    )


def _rounding(points, structure, offsets, weights, means, factors):
    """Return how far off log p_ij may be, (n, M), if computed from differences."""
    eps = (means.shape[1] + 4) * np.finfo(points.dtype).eps
    matrices = reference.as_matrices(structure, factors, means).astype(Wide)
    centre = _weighted_median(weights, means).astype(Wide)
    points, means = points.astype(Wide) - centre, means.astype(Wide) - centre
    differences = points[:, None, :] - means
    reach = abs(points)[:, None, :] + abs(means)
    whitened = abs(np.einsum("jab,nja->njb", matrices, differences))
    delta = eps * np.einsum("jab,nja->njb", abs(matrices), reach)
    of_squares = (whitened * delta + delta**2 / 2).sum(axis=2)
    largest = np.where(np.isfinite(offsets), abs(offsets), 0.0)
    return of_squares + eps * ((whitened**2).sum(axis=2) / 2 + largest)


def _weighted_median(weights, means):
    """Return the median of the means in each coordinate, (D,)."""
    order = means.argsort(axis=0)
    below = weights[order].cumsum(axis=0) < 0.5 * weights.sum()
    middle = below.sum(axis=0, keepdims=True).clip(max=len(means) - 1)
    return np.take_along_axis(means, np.take_along_axis(order, middle, 0), 0)[0]
