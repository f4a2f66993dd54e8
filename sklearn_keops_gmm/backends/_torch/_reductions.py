"""The torch backend: tiles small enough for the cache, products of matrices.

Inside a tile log-densities are to base 2: torch's exp2 takes the same time for any
argument, while its exp is several times slower where it underflows, as it does for
most pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial, reduce
from operator import iadd

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._precision import exact_products
from sklearn_keops_gmm.backends._protocol import ReductionsFactory
from sklearn_keops_gmm.backends._threads import chunks, map_threads, single_thread
from sklearn_keops_gmm.backends._torch._coordinates import Coordinates, CoordinatesOf
from sklearn_keops_gmm.backends._torch._expanded import TileFeatures
from sklearn_keops_gmm.backends._torch._far import Located
from sklearn_keops_gmm.backends._torch._structures import (
    TORCH_STRUCTURES,
    structure_of,
)
from sklearn_keops_gmm.backends._torch._tile import PreparedComponents, Sums
from sklearn_keops_gmm.backends._unlikely import (
    correct_labels,
    correct_responsibilities,
)
from sklearn_keops_gmm.backends._workspace import Workspace, Workspaces, memory_budget

_TILE_BYTES = 3 * 2**20
_MIN_ROWS, _MAX_ROWS = 256, 8192
_TILES_TO_SHARE, _LINE = 4, 64


class TorchReductions:
    """Reductions over tiles of rows; nothing of size N x M is ever held.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    frame : Frame
    """

    structures = TORCH_STRUCTURES.keys()
    in_memory = True

    def __init__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> None:
        self._points = points
        self._sample_weight = sample_weight
        self._frame = frame
        self._coordinates = CoordinatesOf(points, frame)
        self._workspaces = Workspaces(points)
        self._kept: dict[Coordinates, Located] = {}
        self._keeps = True

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None for ones."""
        return self._sample_weight

    def of_rows(self, rows: Tensor) -> TorchReductions:
        """Return the reductions over some rows, in the coordinates of all."""
        rows = rows.to(self._points.device)
        weights = None if self._sample_weight is None else self._sample_weight[rows]
        part = TorchReductions(self._points[rows], weights, self._frame)
        part._coordinates = self._coordinates
        return part

    def reweighted(self, weights: Tensor) -> TorchReductions:
        """Return the reductions over the same rows with other weights, (N,)."""
        other = copy(self)
        other._sample_weight = weights
        return other

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds points in the same coordinates."""
        coordinates = self._coordinates.settled(structure)
        return partial(_in_same_coordinates, self._frame, coordinates)

    @exact_products()
    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points))

        def fill(rows: slice, logits: Tensor, order: Tensor) -> None:
            maximum, total = _exponentiate(logits)
            out[rows] = total.log2_().add_(maximum).mul_(math.log(2))

        self._for_each(components, fill)
        return out

    @exact_products()
    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        pairs = self._pairs(components)
        if self._keeps:
            self._keep_points(pairs)
        # Each chunk has sums of its own.
        fit = memory_budget() // (8 * len(pairs.order) * pairs.height)
        runs = chunks(self._tiles(pairs), at_most=fit)
        sums_of = partial(self._sums, pairs)
        parts = map_threads(sums_of, runs, self._points.device)
        with single_thread():
            moments = pairs.collect(reduce(iadd, parts))
        return structure_of(components).collected(moments)

    @exact_products()
    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        out = torch.empty(
            len(self._points), dtype=torch.int64, device=self._points.device
        )

        def fill(rows: slice, logits: Tensor, order: Tensor) -> None:
            out[rows] = order[logits.argmax(0)]

        self._for_each(components, fill)
        return correct_labels(out, self, self._points, self._frame, components)

    @exact_products()
    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        out = self._points.new_empty(len(self._points), len(components.offsets))

        def fill(rows: slice, logits: Tensor, order: Tensor) -> None:
            _, total = _exponentiate(logits)
            out[rows, order] = logits.mul_(_normalizers(total)).mT

        self._for_each(components, fill)
        return correct_responsibilities(
            out, self, self._points, self._frame, components
        )

    # -- one tile --------------------------------------------------------------------

    def _sums(self, pairs: PreparedComponents, tiles: Sequence[slice]) -> Sums:
        """Return what successive tiles add to the moments and the log-likelihood."""
        weights, sums = self._sample_weight, pairs.no_sums()
        with self._workspaces.one() as workspace:
            for rows in tiles:
                points, logits, far = self._tile(rows, pairs, workspace)
                maximum, total = _exponentiate(logits)
                scale = _normalizers(total)
                log_density = maximum.add_(total.log2_())
                if weights is not None:
                    scale *= weights[rows]
                    # A row without weight has no say, however unlikely it is.
                    counts = weights[rows] > 0
                    log_density = torch.where(counts, log_density * weights[rows], 0.0)
                sums.log_density.add_(log_density.sum(dtype=torch.float64))
                if far is not None:
                    given = self._points[rows][far]
                    pairs.add_far(sums, given, logits[:, far] * scale[far])
                    scale[far] = 0.0
                pairs.add(sums, points, logits, scale, workspace)
        return sums

    def _tile(
        self, rows: slice, pairs: PreparedComponents, workspace: Workspace
    ) -> tuple[TileFeatures, Tensor, Tensor | None]:
        """Return features of some rows, log2 p_ij, and which rows are far away."""
        located = self._located(rows, pairs)
        points = pairs.features(located.points, workspace)
        logits = pairs.logits(points, workspace)
        if located.far is not None:
            pairs.fill_far(logits, located.far, self._points[rows][located.far])
        return points, logits, located.far

    @single_thread()
    def _pairs(self, components: Components) -> PreparedComponents:
        components = structure_of(components).of_each(components)
        coordinates = self._coordinates.suited(components)
        return PreparedComponents.prepare(components, coordinates, self._points.dtype)

    # -- all tiles -------------------------------------------------------------------

    def _for_each(
        self, components: Components, visit: Callable[[slice, Tensor, Tensor], None]
    ) -> None:
        """Call `visit` with each tile of rows, its logits, and their components."""
        pairs = self._pairs(components)

        def run(tiles: Sequence[slice]) -> None:
            with self._workspaces.one() as workspace:
                for rows in tiles:
                    _, logits, _ = self._tile(rows, pairs, workspace)
                    visit(rows, logits, pairs.order)

        map_threads(run, chunks(self._tiles(pairs)), self._points.device)

    def _tiles(self, pairs: PreparedComponents) -> list[slice]:
        """Split the rows into tiles, as many as threads can share evenly."""
        n = len(self._points)
        most = self._most_rows(pairs)
        count = -(-n // most)
        if count > 2:
            count = _TILES_TO_SHARE * -(-count // _TILES_TO_SHARE)
        # BLAS is up to twice as slow where rows are not whole lines of the cache.
        rows = min(most, _LINE * -(-n // (count * _LINE)))
        return [slice(i, min(i + rows, n)) for i in range(0, n, rows)]

    def _most_rows(self, pairs: PreparedComponents) -> int:
        """Return how many rows a tile may have."""
        per_row = self._points.element_size() * (pairs.height + len(pairs.order))
        most = memory_budget() // per_row
        # On paper, a GPU starts twenty kernels in the time that they take for 40 MB.
        if self._points.device.type == "cpu" or not pairs.all_expanded:
            most = min(most, max(_TILE_BYTES // per_row, _MIN_ROWS), _MAX_ROWS)
        return max(1, most)

    def _keep_points(self, pairs: PreparedComponents) -> None:
        """Keep the points in coordinates, for steps to come, if the memory is there."""
        points = self._points
        if pairs.coordinates in self._kept or points.nbytes > memory_budget():
            return
        out = points.new_empty(points.shape[::-1])

        def fill(rows: slice) -> None:
            out[:, rows] = pairs.coordinates.of_points(points[rows]).mT

        map_threads(fill, self._tiles(pairs), points.device)
        self._kept = {pairs.coordinates: Located.of(out)}

    def _located(self, rows: slice, pairs: PreparedComponents) -> Located:
        """Return some rows in coordinates."""
        if pairs.coordinates in self._kept:
            return self._kept[pairs.coordinates].some(rows)
        points = pairs.coordinates.of_points(self._points[rows])
        return Located.of(points.mT)


def _exponentiate(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Turn logits, (M, n), into unnormalised responsibilities, in place.

    These are relative to the maximum of each sample, as in a stable log-sum-exp.

    Returns
    -------
    maximum : Tensor of shape (n,)
        The largest logit of each sample, or 0 where all are -inf.
    total : Tensor of shape (n,)
        The sum of its unnormalised responsibilities.
    """
    maximum = logits.amax(0)
    # A point infinitely unlikely under every component belongs to none.
    maximum.masked_fill_(maximum == -torch.inf, 0.0)
    return maximum, logits.sub_(maximum).exp2_().sum(0)


def _normalizers(total: Tensor) -> Tensor:
    """Return the factors, (n,), that normalise responsibilities of such totals."""
    return total.clamp_min(torch.finfo(total.dtype).tiny).reciprocal_()


def _in_same_coordinates(
    frame: Frame,
    coordinates: CoordinatesOf,
    points: Tensor,
    sample_weight: Tensor | None,
) -> TorchReductions:
    device = points.device
    part = TorchReductions(points, sample_weight, frame.to(device))
    part._coordinates = coordinates.to(device)
    part._keeps = False
    return part
