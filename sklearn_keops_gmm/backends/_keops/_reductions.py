"""The KeOps backend: two compiled formulas, always on differences x_i - m_j.

``log_density`` is a log-sum-exp over components, ``moments`` a sum over samples.
Full and tied covariances share their formulas, and so do diagonal and spherical
ones: each formula is compiled anew for each number of features and dtype. What
needs an N x M result or runs once, `responsibilities` and `labels`, is not worth
a formula and is computed by torch, tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import partial
from math import sqrt

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._keops._formulas import (
    LAYOUTS,
    Kernel,
    KernelComponents,
)
from sklearn_keops_gmm.backends._keops._runtime import (
    check_keops_available,
    reduce_pairs,
)
from sklearn_keops_gmm.backends._precision import exact_products
from sklearn_keops_gmm.backends._protocol import ReductionsFactory, in_same_frame
from sklearn_keops_gmm.backends._torch._structures import structure_of
from sklearn_keops_gmm.backends._unlikely import (
    correct_labels,
    correct_responsibilities,
)
from sklearn_keops_gmm.backends._workspace import Workspace

__all__ = ["KeOpsReductions", "check_keops_available"]

# Elements of the largest array of a tile that torch computes: for a cache, and for a
# GPU, which few kernels suit.
_TILE_ELEMENTS, _TILE_ELEMENTS_ON_A_GPU = 2**18, 2**25
# What GPU_2D may allocate for partial sums, and its bounds on blocks.
_SCRATCH_BYTES = 2**28
_MAX_BLOCKS, _MAX_THREADS, _SHARED_BYTES = 65535, 192, 49152
# KeOps keeps about three copies of the sums of a component on the stack of each
# thread; CUDA gives a thread 512 kB of it.
_MAX_SUMS_BYTES = 150_000


class KeOpsReductions:
    """Reductions by KeOps, which holds nothing of size N x M.

    A sample to which all components give density zero has log-density -inf, and no
    share in any component: it adds nothing to the mass or the other moments, only
    to the log-likelihood.

    Parameters
    ----------
    points : Tensor of shape (N, D), float32 or float64, on CPU or CUDA
    sample_weight : Tensor of shape (N,) or None
    frame : Frame

    Raises
    ------
    ImportError, RuntimeError
        If KeOps, or a compiler for it, is missing.
    """

    structures = LAYOUTS.keys()
    in_memory = True

    def __init__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> None:
        check_keops_available(points.device)
        if sample_weight is None:
            sample_weight = points.new_ones(len(points))
        self._given = points
        self._points = _in_frame(points, frame)
        self._sample_weight = sample_weight[:, None].contiguous()  # (N, 1)
        self._frame = frame

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,)."""
        return self._sample_weight[:, 0]

    def of_rows(self, rows: Tensor) -> KeOpsReductions:
        """Return the reductions over some rows, in the frame of all."""
        rows = rows.to(self._points.device)
        part = copy(self)
        part._given = self._given[rows]
        part._points = self._points[rows]
        part._sample_weight = self._sample_weight[rows]
        return part

    def reweighted(self, weights: Tensor) -> KeOpsReductions:
        """Return the reductions over the same rows with other weights, (N,)."""
        other = copy(self)
        other._sample_weight = weights[:, None].contiguous()
        return other

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds other points in the same frame."""
        return partial(in_same_frame, KeOpsReductions, self._frame)

    @torch.no_grad()
    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        return self._log_density(components, self._prepare(components))

    @torch.no_grad()
    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        pairs = self._prepare(components)
        rows = self._rows_per_sum(pairs)
        log_density = self._log_density(components, pairs)
        sums = self._sums(pairs, log_density, rows)
        mass, first, second = pairs.kernel.split(sums, self._points.shape[1])
        # The pairs were formed with means rounded to the dtype of the points.
        shift = pairs.means.double() - components.in_frame(self._frame).means
        outer = pairs.kernel.outer
        second = (
            second
            + outer(first, shift)
            + outer(shift, first)
            + outer(mass[:, None] * shift, shift)
        )
        first = first + mass[:, None] * shift
        moments = Moments(
            mass,
            first,
            LAYOUTS[components.structure].collect(second),
            self._log_likelihood(log_density),
        )
        return moments.from_frame(self._frame)

    @torch.no_grad()
    @exact_products()
    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points), dtype=torch.int64)
        for rows, logits in self._logit_tiles(components):
            out[rows] = logits.argmax(0)
        return correct_labels(out, self, self._given, self._frame, components)

    @torch.no_grad()
    @exact_products()
    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        out = self._points.new_empty(len(self._points), len(components.offsets))
        for rows, logits in self._logit_tiles(components):
            nowhere = logits.amax(0) == -torch.inf
            out[rows] = logits.softmax(0).masked_fill_(nowhere, 0.0).mT
        return correct_responsibilities(out, self, self._given, self._frame, components)

    # -- KeOps -----------------------------------------------------------------------

    def _prepare(self, components: Components) -> KernelComponents:
        layout = LAYOUTS[components.structure]
        dtype = self._points.dtype
        self._check_shared_memory(layout.kernel)
        framed = components.in_frame(self._frame)
        # log(0) would be NaN in KeOps' log-sum-exp, if it came first.
        offsets = framed.offsets.clamp_min(_floor(dtype))
        factors = layout.spread(framed.factors, *framed.means.shape)
        return KernelComponents(
            layout.kernel,
            framed.means.to(dtype).contiguous(),
            (factors * sqrt(0.5)).to(dtype).contiguous(),
            offsets[:, None].to(dtype).contiguous(),
        )

    def _check_shared_memory(self, kernel: Kernel) -> None:
        """Raise where KeOps would divide by zero: a block would have no thread."""
        n_features, item = self._points.shape[1], self._points.element_size()
        per_component = 1 + n_features + kernel.n_factors(n_features)
        fits = per_component * item <= _SHARED_BYTES
        if self._points.device.type != "cpu" and not fits:
            raise ValueError(
                f"backend='keops' cannot take {n_features} features on a GPU: a "
                "component does not fit the memory that its threads share. Use "
                "backend='torch', which is also faster for so many features."
            )

    def _log_density(self, components: Components, pairs: KernelComponents) -> Tensor:
        """Return log-densities, (N,), of components that were prepared."""
        formula = pairs.kernel.log_density(self._points.shape[1])
        out = reduce_pairs(formula, (self._points, *pairs.arrays))[:, 0]
        # KeOps' log-sum-exp is NaN at infinite distances, as of samples far away.
        far = out.isnan().nonzero()[:, 0]
        for rows, logits in self.of_rows(far)._logit_tiles(components):
            out[far[rows]] = logits.logsumexp(0)
        return out.masked_fill(out < _floor(out.dtype) / 2, -torch.inf)

    def _sums(self, pairs: KernelComponents, log_density: Tensor, rows: int) -> Tensor:
        """Return the sums over samples, (M, S), in float64, `rows` samples a time."""
        formula = pairs.kernel.moments(self._points.shape[1])
        # exp(log p_ij - inf) = 0: no share for samples without any density.
        unused = (log_density == -torch.inf)[:, None] | (self._sample_weight == 0)
        shift = log_density[:, None].masked_fill(unused, torch.inf)
        # No share times an infinite square would be NaN, in the sums of all.
        points = self._points.masked_fill(unused, 0.0)
        per_sample = (points, shift, self._sample_weight)
        shape = len(pairs.means), pairs.kernel.n_sums(self._points.shape[1])
        total = self._points.new_zeros(shape, dtype=torch.float64)
        for tile in zip(*(array.split(rows) for array in per_sample), strict=True):
            points, *scalars = tile
            total += reduce_pairs(formula, (points, *pairs.arrays, *scalars))
        return total

    def _rows_per_sum(self, pairs: KernelComponents) -> int:
        """Return how many samples KeOps may sum at once: all of them, on a CPU."""
        n_samples, n_features = self._points.shape
        item = self._points.element_size()
        n_sums = pairs.kernel.n_sums(n_features)
        if n_sums * item > _MAX_SUMS_BYTES:
            raise ValueError(
                f"backend='keops' cannot sum the second moments of {n_features} "
                "features: they do not fit the stack of a thread. Use "
                "backend='torch', which is also faster for so many features."
            )
        if self._points.device.type != "cuda":
            return n_samples
        # GPU_2D stores partial sums for each block of samples.
        block = min(_MAX_THREADS, _SHARED_BYTES // ((n_features + 2) * item))
        blocks = _SCRATCH_BYTES // (len(pairs.means) * n_sums * item)
        return max(block, 1) * min(max(blocks, 1), _MAX_BLOCKS)

    def _log_likelihood(self, log_density: Tensor) -> float:
        weight = self._sample_weight[:, 0].double()
        # A sample without weight has no say, however unlikely it is.
        terms = torch.where(weight > 0, weight * log_density, 0.0)
        return float(terms.sum())

    # -- torch -----------------------------------------------------------------------

    def _logit_tiles(self, components: Components) -> Iterator[tuple[slice, Tensor]]:
        """Yield some samples at a time and their log p_ij, (M, n)."""
        layout = LAYOUTS[components.structure]
        n_components, n_features = components.means.shape
        dtype = self._points.dtype
        framed = components.in_frame(self._frame)
        factors = layout.spread(framed.factors, n_components, n_features)
        framed = replace(
            framed,
            structure=layout.kernel.structure,
            offsets=framed.offsets.to(dtype),
            means=framed.means.to(dtype),
            factors=layout.kernel.as_array(factors, n_features).to(dtype),
        )
        direct, workspace = structure_of(framed).direct, Workspace(self._points)
        on_cpu = self._points.device.type == "cpu"
        elements = _TILE_ELEMENTS if on_cpu else _TILE_ELEMENTS_ON_A_GPU
        size = max(1, elements // (n_components * n_features))
        for start in range(0, len(self._points), size):
            rows = slice(start, start + size)
            yield rows, direct.logits(framed, self._points[rows].mT, workspace)


def _in_frame(points: Tensor, frame: Frame) -> Tensor:
    """Return (points - centre) / scale, the centre subtracted in double precision."""
    rounded = frame.centre.to(points.dtype)
    rest = (frame.centre - rounded.double()).to(points.dtype)
    # What stands for farther coordinates, whose products with factors are finite.
    most = torch.finfo(points.dtype).max ** 0.75
    framed = (points - rounded).sub_(rest).div_(frame.scale)
    return framed.clamp_(-most, most).contiguous()


def _floor(dtype: torch.dtype) -> float:
    """Return a log-weight that stands for -inf, yet may lose a squared distance."""
    return float(torch.finfo(dtype).min) / 4
