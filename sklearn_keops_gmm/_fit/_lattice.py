"""How far apart the values are that samples were rounded to."""

from __future__ import annotations

import numpy as np

# Values are rounded if so few of them are distinct.
_DISTINCT = 0.7
# Distances on a lattice are integers but for this, in steps; values that are nearer
# than this part of their range are the same.
_UNEVEN, _FINEST = 1e-3, 1e-9
# So many steps lie at least between where nearly all samples are.
_STEPS = 4
_NEARLY_ALL = np.array([0.05, 0.95])


def rounding_step(
    samples: np.ndarray, weights: np.ndarray | None, per_row: float
) -> float:
    """Return the step to which samples (n,) of a feature were rounded; 0 if to none.

    It is that of the lattice on which all lie, or typically the distance of values
    that are about as frequent, where that is more: some samples may lie elsewhere,
    as means of two readings or filled in, and logarithms of integers, or numbers that
    people like, are on no lattice.

    Parameters
    ----------
    samples : ndarray of shape (n,)
    weights : ndarray of shape (n,) or None
    per_row : float
        How many samples a row stands for.
    """
    values, owners = np.unique(samples, return_inverse=True)
    if not 1 < len(values) <= _DISTINCT * per_row * len(samples):
        return 0.0
    counts = np.bincount(owners, weights)
    return max(_step_of_all(values), _typical_step(values, counts))


def _step_of_all(values: np.ndarray) -> float:
    """Return the step of the lattice that sorted `values` lie on; 0 if none."""
    gaps = np.diff(values)
    step = gaps.min()
    if step <= _FINEST * (values[-1] - values[0]):
        return 0.0
    uneven = np.abs(gaps / step - np.round(gaps / step)).max()
    return float(step) if uneven < _UNEVEN else 0.0


def _typical_step(values: np.ndarray, counts: np.ndarray) -> float:
    """Return the median over samples of the distance to the next frequent value.

    It is 0 where that is no rounding: where samples lie at a few values far apart.
    """
    starts = np.flatnonzero(
        np.diff(values, prepend=-np.inf) > _FINEST * (values[-1] - values[0])
    )
    values, counts = values[starts], np.add.reduceat(counts, starts)
    gaps = _gaps(values, counts)
    some = np.isfinite(gaps)
    if not some.any():
        return 0.0
    step = _quantiles(gaps[some], counts[some], np.array([0.5]))[0]
    low, high = _quantiles(values, counts, _NEARLY_ALL)
    return float(step) if _STEPS * step <= high - low else 0.0


def _gaps(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the distance of each value to the next that is about as frequent.

    That is one at least half as frequent as the least of those with a logarithm of
    their count that rounds to the same.
    """
    gaps = np.full(len(values), np.inf)
    levels = np.floor(np.log2(counts.max() / counts))
    for level in np.unique(levels):
        these = values[levels == level]
        frequent = values[counts >= counts[levels == level].min() / 2]
        at = frequent.searchsorted(these)
        around = np.concatenate(([-np.inf], frequent, [np.inf]))
        gaps[levels == level] = np.minimum(these - around[at], around[at + 2] - these)
    return gaps


def _quantiles(
    numbers: np.ndarray, counts: np.ndarray, parts: np.ndarray
) -> np.ndarray:
    """Return the numbers that so large parts of the counts do not exceed."""
    order = np.argsort(numbers)
    below = np.cumsum(counts[order])
    found: np.ndarray = numbers[order][below.searchsorted(parts * below[-1])]
    return found
