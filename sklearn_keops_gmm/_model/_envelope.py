"""Where each of some lines is the lowest."""

from __future__ import annotations

import numpy as np


def lower_envelope(values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return where each of some lines is the lowest, for s >= 0.

    Parameters
    ----------
    values : ndarray of shape (K,)
        At s = 0.
    slopes : ndarray of shape (K,)

    Returns
    -------
    intervals : ndarray of shape (K, 2)
        nan for lines that others hide.
    """
    intervals = np.full((len(values), 2), np.nan)
    line, at = int(np.lexsort((slopes, values))[0]), 0.0
    while True:
        flatter = np.flatnonzero(slopes < slopes[line])
        if not len(flatter):
            intervals[line] = at, np.inf
            return intervals
        crossings = (values[flatter] - values[line]) / (slopes[line] - slopes[flatter])
        # Of lines that cross at the same point the flattest is followed.
        following = flatter[np.lexsort((slopes[flatter], crossings))[0]]
        intervals[line] = at, crossings.min()
        line, at = int(following), float(crossings.min())
