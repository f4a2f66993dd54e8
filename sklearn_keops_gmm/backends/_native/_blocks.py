"""Samples in blocks of those that lie near each other, as the loops take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sklearn_keops_gmm._model import power_of_two
from sklearn_keops_gmm.backends._native._modules import native_module

# Samples in a block, as in the compiled module.
BLOCK = 64


@dataclass(frozen=True)
class Blocks:
    """Samples about a centre, and in a unit in which squares cannot overflow.

    Attributes
    ----------
    columns : ndarray of shape (B, D, 64)
        The last sample is repeated.
    order : ndarray of shape (B * 64,)
        Which row each is.
    n_samples : int
    centre : ndarray of shape (D,), float64
    unit : float
        A power of two.
    variance : float
        The mean variance of the features, in that unit.
    """

    columns: np.ndarray
    order: np.ndarray
    n_samples: int
    centre: np.ndarray
    unit: float
    variance: float

    def scattered(self, values: np.ndarray) -> np.ndarray:
        """Return values of samples in blocks, (B * 64, ...), in the order of rows."""
        rows = np.empty((self.n_samples, *values.shape[1:]), values.dtype)
        rows[self.order] = values
        return rows

    def rows(self) -> np.ndarray:
        """Return the samples, (N, D), as they are in the blocks."""
        n_features = self.columns.shape[1]
        return self.scattered(self.columns.transpose(0, 2, 1).reshape(-1, n_features))


def in_blocks(
    points: np.ndarray, centre: np.ndarray | None = None, unit: float | None = None
) -> Blocks:
    """Return points, (N, D), in blocks: about their mean, if not about a centre."""
    n_samples, n_features = points.shape
    if centre is None:
        centre = points.mean(axis=0, dtype=np.float64)
    rows = points - centre
    if unit is None:
        unit = power_of_two(float(max(rows.max(), -rows.min())))
    rows = (rows / unit).astype(points.dtype, copy=False)
    order = np.empty(-(-n_samples // BLOCK) * BLOCK, np.int64)
    module: Any = native_module()
    module.block_order(n_features, rows, order[:n_samples])
    order[n_samples:] = order[n_samples - 1]
    # Torch's memory starts where vectors may.
    columns = torch.empty(
        len(order) // BLOCK, n_features, BLOCK, dtype=torch.from_numpy(rows[:0]).dtype
    ).numpy()
    columns[:] = rows[order].reshape(-1, BLOCK, n_features).transpose(0, 2, 1)
    variance = float(np.var(rows, axis=0, dtype=np.float64).mean())
    return Blocks(columns, order, n_samples, centre, unit, variance)
