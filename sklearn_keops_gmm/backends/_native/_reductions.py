"""Reductions by the compiled module, chunks of rows on threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial, reduce
from operator import iadd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments, Structure
from sklearn_keops_gmm._model.covariances import CovarianceStructure
from sklearn_keops_gmm.backends._kept import kept_with_components
from sklearn_keops_gmm.backends._native._m_step import (
    native_m_step,
    native_sparse_weights,
)
from sklearn_keops_gmm.backends._native._modules import (
    check_native_available,
    native_module,
)
from sklearn_keops_gmm.backends._native._structures import MATRICES, NATIVE_STRUCTURES
from sklearn_keops_gmm.backends._protocol import (
    MStep,
    ReductionsFactory,
    in_same_frame,
)
from sklearn_keops_gmm.backends._threads import (
    MAX_CHUNKS,
    map_threads,
    slices,
)
from sklearn_keops_gmm.backends._unlikely import (
    correct_labels,
    correct_responsibilities,
)
from sklearn_keops_gmm.backends._workspace import memory_budget

# What a chunk has at least: sums over pairs, about a tenth of a millisecond, for which
# it is worth to wake a thread; and rows, about a tile, which its own sums are for.
_GRAIN, _ROWS = 2**20, 384
# Pairs are pruned where components are many, and features so few that boxes around
# samples that are near each other are small.
_PRUNED_FEATURES, _PRUNED_COMPONENTS, _PRUNED_ROWS = 4, 30, 2**12
# Components for which it is worth to order rows: of all sums of moments so far, or
# those of one log-density.
_WORTH_AN_ORDER_OF_SUMS, _WORTH_AN_ORDER = 300, 3000
# Matrices of fewer samples than so many times the features have directions of next to
# no variance; of no more numbers than that it is worth to have a copy in float64.
_SAMPLES_A_FEATURE, _MOST_WIDE = 2, 2**20
# What the compiled module calls the dtypes of points.
_CHARS = {torch.float32: "f", torch.float64: "d"}


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

    Notes
    -----
    A component whose mean is NaN, say, makes all results NaN, as in the dense formulas.
    A sample that is infinitely unlikely under every component has a log-density of
    -inf, and adds nothing to the moments of any.
    """

    structures = NATIVE_STRUCTURES.keys()
    in_memory = True

    def __init__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> None:
        check_native_available()
        if points.device.type != "cpu":
            raise ValueError(
                f"backend='native' computes on the CPU; got data on {points.device}. "
                "Use device='cpu', or backend='auto', 'torch' or 'keops'."
            )
        self._points = _side_by_side(points)
        self._sample_weight = (
            None if sample_weight is None else _side_by_side(sample_weight)
        )
        self._frame = frame
        self._n_summed = 0

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None for ones."""
        return self._sample_weight

    def of_rows(self, rows: Tensor) -> NativeReductions:
        """Return the reductions over some rows, in the frame of all."""
        weights = None if self._sample_weight is None else self._sample_weight[rows]
        return NativeReductions(self._points[rows], weights, self._frame)

    def reweighted(self, weights: Tensor) -> NativeReductions:
        """Return the reductions over the same rows with other weights, (N,)."""
        return NativeReductions(self._points, weights, self._frame)

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds other points in the same frame."""
        return partial(in_same_frame, _NativePiece, self._frame)

    @staticmethod
    def m_step_for(covariance: CovarianceStructure) -> MStep | None:
        """Return the M-step of a structure of covariances, if it is compiled."""
        return native_m_step(covariance)

    sparse_weights = staticmethod(native_sparse_weights)

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points))
        if not self._is_pruned(components, len(components.offsets) >= _WORTH_AN_ORDER):
            self._write("log_density", components, out)
            return out
        order, sorted_rows = self._sorted
        found = torch.empty_like(out)
        sorted_rows._write("pruned_log_density", components, found)
        out[order] = found
        return out

    def rows_above(
        self, components: Components, floors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the rows whose log-density is above floors, (N,), and it."""
        mixture = _packed(components, self._frame, self._points.dtype)
        order, near = self._near_each_other
        frame = self._frame.centre.numpy(), self._frame.scale
        points, places, given = near.numpy(), order.numpy(), floors.numpy()
        rows, found = torch.empty_like(order), torch.empty_like(near[:, 0])
        chunks, tile_bytes = self._chunks_of(mixture)

        def visit(some: slice) -> slice:
            out = rows[some].numpy(), found[some].numpy()
            parts = points[some], places[some], given, tile_bytes
            count = _native().above(mixture, *frame, *parts, *out)
            return slice(some.start, some.start + count)

        # Copies of the few, as slices would keep the memory of all.
        filled = map_threads(visit, chunks, self._points.device)
        few = [torch.cat([each[some] for some in filled]) for each in (rows, found)]
        return few[0], few[1]

    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points), dtype=torch.int64)
        self._write("labels", components, out)
        return correct_labels(out, self, self._points, self._frame, components)

    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        out = self._points.new_empty(len(self._points), len(components.offsets))
        self._write("responsibilities", components, out)
        return correct_responsibilities(
            out, self, self._points, self._frame, components
        )

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        return self.moments_beside(components, -math.inf)

    def moments_beside(self, components: Components, rest: float | Tensor) -> Moments:
        """Return the moments beside what has a density of its own.

        Parameters
        ----------
        components : Components
        rest : float or Tensor of shape (N,)
            The logarithm of that density: at all points, or at each.

        Returns
        -------
        moments : Moments
            With the log-likelihood of both together, and what the other has as noise if
            its density is the same at all points.
        """
        if self._is_near_singular(components):
            return self._wide.moments_beside(components, rest)
        self._n_summed += len(components.offsets)
        if not self._is_pruned(components, self._n_summed >= _WORTH_AN_ORDER_OF_SUMS):
            return self._moments("moments", components, rest)
        order, sorted_rows = self._sorted
        rest = rest[order] if isinstance(rest, Tensor) else rest
        return sorted_rows._moments("pruned_moments", components, rest)

    def _moments(
        self, reduction: str, components: Components, rest: float | Tensor
    ) -> Moments:
        mixture = _packed(components, self._frame, self._points.dtype)
        size = _native().n_sums(mixture)
        # Each chunk has sums of its own; tiles have the other half of the memory.
        half = memory_budget() // 2
        chunks = self._chunks(size, at_most=half // (8 * size))
        visit = self._visit(reduction, mixture, half // len(chunks), rest)

        def sums_of(rows: slice) -> np.ndarray:
            sums = np.zeros(size)
            visit(rows, sums)
            return sums

        parts = map_threads(sums_of, chunks, self._points.device)
        sums = reduce(iadd, parts)
        structure = NATIVE_STRUCTURES[components.structure]
        n_components, n_features = components.means.shape
        found = (
            np.empty(n_components),
            np.empty((n_components, n_features)),
            np.empty(structure.second_shape(n_components, n_features)),
        )
        log_likelihood, others = _native().settle(
            mixture, self._frame.scale, sums, *found
        )
        mass, first, second = map(torch.from_numpy, found)
        found_moments = Moments(mass, first, second, log_likelihood)
        if isinstance(rest, Tensor) or not others:
            return found_moments
        return replace(found_moments, noise=others, noise_log_density=others * rest)

    def _is_near_singular(self, components: Components) -> bool:
        """Tell whether sums in float32 hide how narrow covariances are.

        From step to step a ridge would make other mixtures of their rounding.
        """
        n_rows, n_features = self._points.shape
        n_enough = _SAMPLES_A_FEATURE * len(components.offsets) * n_features
        return (
            self._points.dtype == torch.float32
            and components.structure in MATRICES
            and n_rows < n_enough
            and n_rows * n_features <= _MOST_WIDE
        )

    @cached_property
    def _wide(self) -> NativeReductions:
        """The same rows, in float64."""
        weights = self._sample_weight
        weights = None if weights is None else weights.double()
        return NativeReductions(self._points.double(), weights, self._frame)

    def _is_pruned(self, components: Components, worth_an_order: bool) -> bool:
        """Tell whether pairs of no consequence are left out, which takes an order."""
        return (
            len(components.offsets) >= _PRUNED_COMPONENTS
            and (worth_an_order or "_sorted" in vars(self))
            and self._are_sortable
        )

    @property
    def _are_sortable(self) -> bool:
        """Whether an order of the rows can be of use."""
        n_rows, n_features = self._points.shape
        size = n_rows * (n_features * self._points.element_size() + 8)
        return (
            n_features <= _PRUNED_FEATURES
            and n_rows >= _PRUNED_ROWS
            and size <= memory_budget()
        )

    @cached_property
    def _near_each_other(self) -> tuple[Tensor, Tensor]:
        """An order of the rows, and the points in it: a useful one, if there is one."""
        if not self._are_sortable:
            return torch.arange(len(self._points)), self._points
        order, sorted_rows = self._sorted
        return order, sorted_rows._points

    @cached_property
    def _sorted(self) -> tuple[Tensor, NativeReductions]:
        """An order of the rows that keeps together what is near, and them in it."""
        points = self._points
        order = torch.empty(len(points), dtype=torch.int64)
        _native().block_order(points.shape[1], points.numpy(), order.numpy())
        return order, self.of_rows(order)

    def _write(self, reduction: str, components: Components, out: Tensor) -> None:
        """Fill `out`, which has a row for each sample."""
        mixture = _packed(components, self._frame, self._points.dtype)
        chunks, tile_bytes = self._chunks_of(mixture)
        visit = self._visit(reduction, mixture, tile_bytes)
        array = out.numpy()
        map_threads(lambda rows: visit(rows, array[rows]), chunks, self._points.device)

    def _chunks_of(self, mixture: Any) -> tuple[list[slice], int]:
        """Split the rows for one pass; say how many bytes a tile of a chunk has."""
        chunks = self._chunks(_native().n_sums(mixture))
        # As many tiles as chunks are there at once, at most.
        return chunks, memory_budget() // 2 // len(chunks)

    def _chunks(self, size: int, at_most: int = MAX_CHUNKS) -> list[slice]:
        """Split the rows for threads, into as many chunks for any number of them.

        `size` is how many sums a row adds to.
        """
        n = len(self._points)
        return slices(n, min(at_most, n * size // _GRAIN, n // _ROWS))

    def _visit(
        self,
        reduction: str,
        mixture: Any,
        tile_bytes: int,
        rest: float | Tensor = -math.inf,
    ) -> Callable[[slice, np.ndarray], None]:
        """Return what reduces the rows of one of the chunks to an array for results."""
        run = getattr(_native(), reduction)
        points, weights = self._points.numpy(), None
        if reduction.endswith("moments") and self._sample_weight is not None:
            weights = self._sample_weight.numpy()
        frame = self._frame.centre.numpy(), self._frame.scale
        rest_of_all, rests = rest, None
        if isinstance(rest, Tensor):
            rest_of_all, rests = -math.inf, rest.to(self._points.dtype).numpy()

        def visit(rows: slice, out: np.ndarray) -> None:
            part = (
                None if array is None else array[rows]
                for array in (points, weights, rests)
            )
            run(mixture, *frame, rest_of_all, *part, tile_bytes, out)

        return visit


class _NativePiece(NativeReductions):
    """Some rows of many: that these are few says nothing of covariances."""

    def _is_near_singular(self, components: Components) -> bool:
        return False


@kept_with_components
def _packed(components: Components, frame: Frame, dtype: torch.dtype) -> Any:
    """Return the components as the compiled module keeps them."""
    structure = components.structure
    factors = NATIVE_STRUCTURES[structure].prepare(components)
    parts = components.offsets, components.means, factors
    arrays = [part.double().contiguous().numpy() for part in parts]
    centre = frame.centre.numpy()
    return _native().mixture(_CHARS[dtype], structure, centre, frame.scale, *arrays)


def _native() -> Any:
    """Return the compiled module, which has no annotations."""
    return native_module()


def _side_by_side(array: Tensor) -> Tensor:
    """Return the same numbers as the loops need them: contiguous, and aligned.

    A column of a table has a stride, and what came over a network lies anywhere.
    """
    array = array.contiguous()
    return array.clone() if array.data_ptr() % array.element_size() else array
