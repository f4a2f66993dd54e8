"""Where a density of one feature, and a histogram of it, are worth a look."""

from __future__ import annotations

from typing import Any

import numpy as np

# At most so many bins: heavy tails make rules of thumb ask for thousands.
_MOST_BINS = 200
# Values are on a lattice if distances between them are integers, but for this.
_UNEVEN = 1e-6
# Standard deviations from a mean where the curve of a component bends.
_BENDS = np.array([-3.0, -2.0, -1.5, -1.0, -0.5, -0.25, 0.0])
_BENDS = np.concatenate((_BENDS, -_BENDS[:-1]))


def curve_ticks(
    ticks: np.ndarray, means: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    """Return points, with some near each mean: a narrow component is not passed over.

    Parameters
    ----------
    ticks : ndarray of shape (resolution,)
        Regular, from one end of the axis to the other.
    means, variances : ndarray of shape (n_components,)
    """
    near = (means[:, None] + np.sqrt(variances)[:, None] * _BENDS).ravel()
    within = near[(near > ticks[0]) & (near < ticks[-1])]
    return np.unique(np.concatenate((ticks, within)))


def bin_edges(sample: np.ndarray, bins: Any) -> np.ndarray:
    """Return the edges of the bins of a histogram.

    Those that are found are no more than can be seen; and of values on a lattice, such
    as integers, each bin holds as many of its points as any other: bins between them
    would make a comb of an even sample.

    Parameters
    ----------
    sample : ndarray of shape (n_samples,)
    bins : int, sequence or str
        As in :func:`numpy.histogram_bin_edges`; 'auto' is treated as said.
    """
    if not (isinstance(bins, str) and bins == "auto"):
        return np.histogram_bin_edges(sample, bins)
    sample = sample.astype(np.float64, copy=False)
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        return np.histogram_bin_edges(sample, 1)
    middle = sample[(sample >= low) & (sample <= high)]
    n_bins = min(len(np.histogram_bin_edges(middle, "auto")) - 1, _MOST_BINS)
    step = _lattice_step(sample)
    if step is None:
        return np.linspace(low, high, n_bins + 1)
    n_points = round((high - low) / step) + 1
    each = max(1, round(n_points / n_bins), -(-n_points // _MOST_BINS))
    n_bins = -(-n_points // each)
    return low + step * (each * np.arange(n_bins + 1) - 0.5)


def _lattice_step(sample: np.ndarray) -> float | None:
    """Return the distance of neighbours on the lattice that values are on, if any."""
    values = np.unique(sample)
    if 2 * len(values) > len(sample):
        return None
    gaps = np.diff(values) / np.diff(values).min()
    if np.abs(gaps - gaps.round()).max() > _UNEVEN * gaps.max():
        return None
    return float(np.diff(values).min())
