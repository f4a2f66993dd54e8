"""How far samples reach, and the frame that suits them."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._model import Frame, unit_of_points

# A row of so many bytes fills registers; of fewer points there is nothing to gain.
_ROW, _MANY = 128, 1000
# So many points, or coordinates, tell where their middle is, about.
_SAMPLE, _COORDINATES = 2**12, 2**16


@dataclass(frozen=True)
class Extent:
    """How far points reach; that of all is the sum of those of parts.

    Attributes
    ----------
    low, high : ndarray of shape (D,), float64
        Their least and their greatest coordinates; infinity and minus infinity where
        none is observed.
    incomplete : bool
        Whether some miss a coordinate.
    """

    # A few numbers, which numpy takes faster.
    low: np.ndarray
    high: np.ndarray
    incomplete: bool

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """Return the extent of (N, D) `points`."""
        low, high = _least_and_greatest(points)
        incomplete = bool(low.isnan().any())
        if incomplete:
            low = points.nan_to_num(nan=torch.inf).amin(0)
            high = points.nan_to_num(nan=-torch.inf).amax(0)
        return cls(to_numpy(low.double()), to_numpy(high.double()), incomplete)

    @property
    def observed(self) -> np.ndarray:
        """Which features are observed at all, (D,) bool."""
        return self.low <= self.high

    @property
    def n_varying(self) -> int:
        """The number of features that are not constant, or 1 if all are."""
        return max(1, int((self.low < self.high).sum()))

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.incomplete or other.incomplete,
        )

    def frame(self, some: Tensor) -> Frame:
        """Return the frame centred on the median of `some` points, (n, D).

        Its unit is about how far the points reach, those far from most excepted.
        """
        n_rows = min(_SAMPLE, max(1, _COORDINATES // some.shape[1]))
        sample = to_numpy(some[:: -(-len(some) // n_rows)])
        # Along features, which numpy takes several times as fast.
        columns = np.ascontiguousarray(sample.T)
        centre = _medians(columns, self.incomplete)
        if self.incomplete and np.isnan(centre).any():
            with np.errstate(invalid="ignore"):
                middle = 0.5 * self.low + 0.5 * self.high
            known = np.where(self.observed, middle, 0.0)
            centre = np.where(np.isnan(centre), known, centre)
        with np.errstate(over="ignore"):
            distances = np.abs(columns - centre[:, None])
        if self.incomplete:
            distances = np.nan_to_num(distances)
        unit = unit_of_points(self.reach(centre), distances.max(0), some.dtype)
        return Frame(torch.from_numpy(centre).to(some.device), unit)

    def reach(self, centre: np.ndarray) -> float:
        """Return how far the points reach from `centre`, (D,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.maximum(self.high - centre, centre - self.low).max()
        return min(float(reach), sys.float_info.max)


def _least_and_greatest(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the extremes of each feature, (D,); NaN where one is missing."""
    # torch is five times as fast where rows are long: some are read as one.
    together = -(-2 * _ROW // (points.element_size() * points.shape[1]))
    if together <= 2 or len(points) < _MANY:
        return points.amin(0), points.amax(0)
    n_whole = len(points) - len(points) % together
    rows = points[:n_whole].reshape(n_whole // together, -1)
    both = rows.amin(0).view(together, -1), rows.amax(0).view(together, -1)
    low, high = (torch.cat((part, points[n_whole:])) for part in both)
    return low.amin(0), high.amax(0)


def _medians(columns: np.ndarray, incomplete: bool) -> np.ndarray:
    """Return the medians of columns, (D, n), float64; of an even number the lower."""
    if incomplete:
        # numpy's without what is missing is the mean of both.
        found = torch.from_numpy(columns).nanmedian(1).values.numpy()
    else:
        middle = (columns.shape[1] - 1) // 2
        found = np.partition(columns, middle, axis=1)[:, middle]
    return found.astype(np.float64)
