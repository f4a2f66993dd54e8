"""How far samples reach, and the frame that suits them."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._model import Frame, unit_of_points

# So many points tell where their middle is, about.
_SAMPLE = 4096


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
        low, high = points.amin(0), points.amax(0)
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
        sample = some[:: -(-len(some) // _SAMPLE)]
        centre = sample.nanmedian(0).values.double()
        if self.incomplete and bool(centre.isnan().any()):
            with np.errstate(invalid="ignore"):
                middle = 0.5 * self.low + 0.5 * self.high
            known = torch.from_numpy(np.where(self.observed, middle, 0.0)).to(centre)
            centre = torch.where(centre.isnan(), known, centre)
        distances = (sample.double() - centre).abs()
        if self.incomplete:
            distances = distances.nan_to_num()
        distances = distances.amax(1)
        return Frame(centre, unit_of_points(self.reach(centre), distances, some.dtype))

    def reach(self, centre: Tensor) -> float:
        """Return how far the points reach from `centre`, (D,)."""
        middle = to_numpy(centre)
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.maximum(self.high - middle, middle - self.low).max()
        return min(float(reach), sys.float_info.max)
