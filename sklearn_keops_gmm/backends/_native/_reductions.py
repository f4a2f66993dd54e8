"""Reductions by the compiled module, chunks of rows on threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial, reduce
from operator import iadd

import torch
from sklearn import get_config
from torch import Tensor

from sklearn_keops_gmm._parameters import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._native._modules import (
    check_native_available,
    native_reduce,
)
from sklearn_keops_gmm.backends._protocol import Recipe
from sklearn_keops_gmm.backends._threads import MAX_CHUNKS, map_threads, single_thread

# As module.cpp and mixture.h number them.
_LOG_DENSITY, _LABELS, _RESPONSIBILITIES, _MOMENTS = range(4)
_KINDS = {"full": 0, "tied": 0, "diag": 1, "spherical": 2}
# What a chunk has at least: sums over pairs, about a tenth of a millisecond, for which
# it is worth to wake a thread; and rows, about a tile, which its own sums are for.
_GRAIN, _ROWS = 2**20, 384
_SUMS_BYTES = 2**28


class NativeReductions:
    """Reductions over the rows of an array on the CPU; it is read where it lies.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    frame : Frame

    Raises
    ------
    ImportError
        If the package was installed without a C++ compiler.
    ValueError
        If the points are not on the CPU.
    """

    def __init__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> None:
        check_native_available()
        if points.device.type != "cpu":
            raise ValueError(
                f"backend='native' computes on the CPU; got data on {points.device}. "
                "Use device='cpu', or backend='auto', 'torch' or 'keops'."
            )
        self._points = points.contiguous()
        # A column of a table has a stride, which addresses do not tell.
        self._sample_weight = (
            None if sample_weight is None else sample_weight.contiguous()
        )
        self._frame = frame

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    def of_rows(self, rows: Tensor) -> NativeReductions:
        """Return the reductions over some rows, in the frame of all."""
        weights = None if self._sample_weight is None else self._sample_weight[rows]
        return NativeReductions(self._points[rows], weights, self._frame)

    def recipe(self, structure: Structure) -> Recipe:
        """Return how to make reductions over other points, in the frame of these."""
        return partial(_in_same_frame, self._frame)

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points))
        self._write(_LOG_DENSITY, components, out)
        return out

    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points), dtype=torch.int64)
        self._write(_LABELS, components, out)
        return out

    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        out = self._points.new_empty(len(self._points), len(components.offsets))
        self._write(_RESPONSIBILITIES, components, out)
        return out

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        visit = self._visit(_MOMENTS, components)
        size = _size_of_sums(components)

        def sums_of(rows: slice) -> Tensor:
            # The log-likelihood comes last.
            sums = torch.zeros(size + 1, dtype=torch.float64)
            visit(rows, sums)
            return sums

        # Each chunk has sums of its own.
        fit = min(_SUMS_BYTES, int(get_config()["working_memory"] * 2**20))
        chunks = self._chunks(size, at_most=fit // (8 * size))
        with single_thread():
            parts = map_threads(sums_of, chunks, self._points.device)
            sums = reduce(iadd, parts)
            moments = _moments(sums, components)
            return moments.from_frame(self._frame)

    def _write(self, reduction: int, components: Components, out: Tensor) -> None:
        """Fill `out`, which has a row for each sample."""
        visit = self._visit(reduction, components)
        chunks = self._chunks(_size_of_sums(components))
        map_threads(lambda rows: visit(rows, out[rows]), chunks, self._points.device)

    def _chunks(self, size: int, at_most: int = MAX_CHUNKS) -> list[slice]:
        """Split the rows for threads, the same way on every machine.

        `size` is how many sums a row adds to.
        """
        n = len(self._points)
        count = max(1, min(MAX_CHUNKS, at_most, n * size // _GRAIN, n // _ROWS))
        bounds = [n * i // count for i in range(count + 1)]
        return [slice(*bounds[i : i + 2]) for i in range(count)]

    @single_thread()
    def _visit(
        self, reduction: int, components: Components
    ) -> Callable[[slice, Tensor], None]:
        """Return what reduces some rows to an array for the results."""
        run = native_reduce()
        assert run is not None
        structure, points = components.structure, self._points
        weights = self._sample_weight if reduction == _MOMENTS else None
        components = _untied(components.in_frame(self._frame))
        n_components, n_features = components.means.shape
        arrays = [
            array.double().contiguous()
            for array in (
                components.offsets,
                components.means,
                components.factors,
                self._frame.centre,
            )
        ]
        offsets, means, factors, centre = (array.data_ptr() for array in arrays)

        def visit(rows: slice, out: Tensor) -> None:
            assert len(arrays) == 4  # they have to live as long as their addresses
            run(
                reduction,
                points.dtype == torch.float64,
                _KINDS[structure],
                n_components,
                n_features,
                offsets,
                means,
                factors,
                points[rows].data_ptr(),
                0 if weights is None else weights[rows].data_ptr(),
                rows.stop - rows.start,
                centre,
                self._frame.scale,
                out.data_ptr(),
            )

        return visit


def _in_same_frame(
    frame: Frame, points: Tensor, sample_weight: Tensor | None
) -> NativeReductions:
    return NativeReductions(points, sample_weight, frame.to(points.device))


def _untied(components: Components) -> Components:
    """Return factors that are triangular, and one for each component."""
    factors = components.factors
    if components.structure not in ("full", "tied"):
        return components
    if factors.tril(-1).any():
        # Of A A^T = U U^T, by a QR decomposition with rows and columns reversed.
        lower = torch.linalg.qr(factors.flip(-2).mT, mode="r").R.mT
        factors = lower.flip(-2, -1)
    if components.structure == "tied":
        factors = factors.expand(len(components.offsets), -1, -1)
    return replace(components, factors=factors)


def _size_of_sums(components: Components) -> int:
    """Return how many sums the moments of all components are, as in structures.h."""
    n_components, n_features = components.means.shape
    second = {"diag": n_features, "spherical": 1}
    triangle = n_features * (n_features + 1) // 2
    return n_components * (1 + n_features + second.get(components.structure, triangle))


def _moments(sums: Tensor, components: Components) -> Moments:
    """Return what sums, of one component after the other, say about moments."""
    n_components, n_features = components.means.shape
    log_likelihood = float(sums[-1])
    mass, first, second = (
        sums[:-1].view(n_components, -1).tensor_split((1, 1 + n_features), 1)
    )
    if components.structure == "spherical":
        second = second[:, 0]
    elif components.structure != "diag":
        second = second.index_select(1, _entries(n_features))
        second = second.view(-1, n_features, n_features)
    if components.structure == "tied":
        second = second.sum(0)
    return Moments(mass[:, 0], first, second, log_likelihood)


@cache
def _entries(n_features: int) -> Tensor:
    """Return where each entry of a matrix is in its upper triangle."""
    numbers = torch.zeros(n_features, n_features, dtype=torch.int64)
    rows, columns = torch.triu_indices(n_features, n_features)
    numbers[rows, columns] = torch.arange(len(rows))
    return (numbers + numbers.triu(1).mT).flatten()
