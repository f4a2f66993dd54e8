"""Moments of rows with missing features by the compiled module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import iadd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._incomplete_rows import IncompleteRows
from sklearn_keops_gmm.backends._native._modules import native_module
from sklearn_keops_gmm.backends._native._structures import MATRICES, NATIVE_STRUCTURES
from sklearn_keops_gmm.backends._threads import map_threads, single_thread, slices
from sklearn_keops_gmm.backends._workspace import memory_budget

# Sums over pairs for which it is worth to wake a thread.
_GRAIN = 2**18
# Beyond it squares could overflow; in the frame most points are near 1.
_FARTHEST = 1e75


@dataclass(frozen=True)
class _Chunk:
    """Rows, sorted by pattern, as the loops take them."""

    observed: np.ndarray
    sizes: np.ndarray
    points: np.ndarray
    weights: np.ndarray | None = None


class NativeIncompleteRows(IncompleteRows):
    """Rows with missing features, whose moments are loops in C++ where they can be."""

    def moments(self, components: Components) -> Moments:
        """Return the expected moments about ``components.means``."""
        # Of others conditional covariances are no matrices; torch does for them.
        if components.structure not in MATRICES:
            return super().moments(components)
        n_components, n_features = components.means.shape
        size = n_components * (1 + n_features + n_features * (n_features + 1) // 2) + 2
        arguments = self._arguments(components)
        run: Any = native_module()

        def sums_of(rows: slice) -> Tensor:
            chunk = self._chunk(rows)
            sums = torch.zeros(size, dtype=torch.float64)
            run.incomplete_moments(
                chunk.observed,
                chunk.sizes,
                chunk.points,
                chunk.weights,
                *arguments,
                sums.numpy(),
            )
            return sums

        n_rows = self.n_samples
        at_most = min(n_rows * size // _GRAIN, memory_budget() // (16 * size))
        parts = map_threads(sums_of, slices(n_rows, at_most), torch.device("cpu"))
        with single_thread():
            return self._collected(reduce(iadd, parts), components)

    @single_thread()
    def _arguments(self, components: Components) -> tuple[Any, ...]:
        """Return offsets, means and precisions in the frame, and its unit."""
        framed = components.in_frame(self._frame)
        precisions = framed.factors @ framed.factors.mT
        arrays = (framed.offsets, framed.means, precisions)
        numbers = (array.double().contiguous().numpy() for array in arrays)
        return *numbers, math.log(self._frame.scale)

    def _collected(self, sums: Tensor, components: Components) -> Moments:
        n_components, n_features = components.means.shape
        log_likelihood, missing = (float(number) for number in sums[-2:])
        sums_of = NATIVE_STRUCTURES[components.structure].moments_of_each
        mass, first, second = sums_of(sums[:-2], n_components, n_features)
        moments = Moments(mass, first, second, log_likelihood, missing)
        return moments.from_frame(self._frame)

    @cached_property
    def _sorted(self) -> _Chunk:
        """All rows, pattern by pattern, but for their weights."""
        order = self._patterns.order
        points = self._framed(order).nan_to_num(nan=0.0)
        points = points.clamp(-_FARTHEST, _FARTHEST)
        observed = self._patterns.observed.numpy()
        sizes = self._patterns.sizes.numpy()
        return _Chunk(observed, sizes, points.contiguous().numpy())

    def _chunk(self, rows: slice) -> _Chunk:
        """Return some of the rows, and the patterns that they have."""
        whole = self._sorted
        ends = np.cumsum(whole.sizes)
        starts = ends - whole.sizes
        some = slice(
            np.searchsorted(ends, rows.start, side="right"),
            np.searchsorted(starts, rows.stop, side="left"),
        )
        sizes = np.minimum(ends[some], rows.stop) - np.maximum(starts[some], rows.start)
        weights = None
        if self._sample_weight is not None:
            own = self._sample_weight[self._patterns.order[rows]]
            weights = own.double().contiguous().numpy()
        return _Chunk(whole.observed[some], sizes, whole.points[rows], weights)
