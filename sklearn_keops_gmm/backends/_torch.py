"""The torch backend: tiles small enough for the cache, products of matrices.

Inside a tile log-densities are to base 2: torch's exp2 takes the same time for any
argument, while its exp is several times slower where it underflows, as it does for
most pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from sklearn import get_config
from torch import Tensor

from sklearn_keops_gmm._parameters import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._coordinates import CoordinatesOf
from sklearn_keops_gmm.backends._pairs import Pairs, Tile, worth_no_features
from sklearn_keops_gmm.backends._protocol import Recipe
from sklearn_keops_gmm.backends._threads import chunks, map_threads, single_thread

_TILE_BYTES = 2**21
_MIN_ROWS, _MAX_ROWS = 256, 8192
_CACHE_BYTES = 2**28
# Sums of shares, or their inverses, with which nothing that counts leaves the range.
_SAFE_SUMS = {torch.float64: 2.0**500, torch.float32: 2.0**50}


class TorchReductions:
    """Reductions over tiles of rows; nothing of size N x M is ever held.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    frame : Frame
    """

    def __init__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> None:
        self._points = points
        self._sample_weight = sample_weight
        self._frame = frame
        self._coordinates = CoordinatesOf(points, frame)
        self._cache: dict[tuple[str, int], list[Tile]] = {}
        self._levels: Tensor | None = None
        self._keeps = True

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    def of_rows(self, rows: Tensor) -> TorchReductions:
        """Return the reductions over some rows, in the coordinates of all."""
        rows = rows.to(self._points.device)
        weights = None if self._sample_weight is None else self._sample_weight[rows]
        part = TorchReductions(self._points[rows], weights, self._frame)
        part._coordinates = self._coordinates
        return part

    def recipe(self, structure: Structure) -> Recipe:
        """Return how to make reductions over other points, in the same coordinates."""
        coordinates = self._coordinates.settled(structure)
        return partial(_in_same_coordinates, self._frame, coordinates)

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points))

        def fill(tile: Tile, logits: Tensor, order: Tensor) -> None:
            out[tile.rows] = _exponentiate(logits).log_density().mul_(math.log(2))

        self._for_each(components, fill)
        return out

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        pairs = self._pairs(components)
        # Log-densities change little from one step of a fit to the next: those of
        # the step before save the search for the largest term of each sum.
        found = self._levels
        levels = self._points.new_empty(len(self._points)) if found is None else found

        def add(tiles: Sequence[slice | Tile]) -> list[Tensor]:
            sums: list[Tensor] = []
            memory = _Memory(self._points)
            for rows in tiles:
                tile = self._tile(rows, pairs)
                level = None if found is None else levels[tile.rows]
                shares = _shares(tile, pairs, memory.for_logits(tile, pairs), level)
                levels[tile.rows] = shares.log_density()
                parts = self._tile_sums(tile, pairs, shares, levels[tile.rows])
                if sums:
                    for total, part in zip(sums, parts, strict=True):
                        total += part
                else:
                    sums = list(parts)
            return sums

        tiles = self._tiles(pairs, keep=self._keeps)
        # Each chunk has sums of its own.
        fit = self._budget() // (8 * len(pairs.order) * pairs.height)
        parts = map_threads(add, chunks(tiles, at_most=fit), self._points.device)
        if self._points.device.type == "cpu":
            self._levels = levels
        expanded, direct, log_likelihood = (
            sum(part) for part in zip(*parts, strict=True)
        )
        with single_thread():
            moments = pairs.collect(
                expanded, direct, float(log_likelihood) * math.log(2)
            )
            coordinates = self._coordinates(pairs.structure, pairs.bare)
            moments = coordinates.moments_back(moments)
        if components.structure == "tied":
            moments = replace(moments, second=moments.second.sum(0))
        return moments

    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        out = torch.empty(
            len(self._points), dtype=torch.int64, device=self._points.device
        )

        def fill(tile: Tile, logits: Tensor, order: Tensor) -> None:
            out[tile.rows] = order[logits.argmax(0)]

        self._for_each(components, fill)
        return out

    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        out = self._points.new_empty(len(self._points), len(components.offsets))

        def fill(tile: Tile, logits: Tensor, order: Tensor) -> None:
            shares = _exponentiate(logits)
            out[tile.rows, order] = shares.values.mul_(shares.scale()).mT

        self._for_each(components, fill)
        return out

    # -- one tile --------------------------------------------------------------------

    def _tile_sums(
        self, tile: Tile, pairs: Pairs, shares: _Shares, log_density: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a tile adds to the moments and the log-likelihood."""
        scale = shares.scale()
        if self._sample_weight is not None:
            weight = self._sample_weight[tile.rows]
            scale *= weight
            # A row without weight has no say, however unlikely it is.
            log_density = torch.where(weight > 0, log_density * weight, 0.0)
        expanded, direct = pairs.moments(tile, shares.values, scale)
        return expanded, direct, log_density.sum(dtype=torch.float64)

    @single_thread()
    def _pairs(self, components: Components, once: bool = False) -> Pairs:
        components = _untied(components)
        bare = once and worth_no_features(components)
        coordinates = self._coordinates(components.structure, bare)
        components = coordinates.of_components(components)
        return Pairs.prepare(components, self._points.dtype, bare)

    # -- all tiles -------------------------------------------------------------------

    def _for_each(
        self, components: Components, visit: Callable[[Tile, Tensor, Tensor], None]
    ) -> None:
        """Show each tile, its logits and the components of their rows to `visit`."""
        pairs = self._pairs(components, once=not self._cache)

        def run(tiles: Sequence[slice | Tile]) -> None:
            memory = _Memory(self._points)
            for rows in tiles:
                tile = self._tile(rows, pairs)
                logits = pairs.logits(tile, memory.for_logits(tile, pairs))
                visit(tile, logits, pairs.order)

        tiles = self._tiles(pairs, keep=False)
        map_threads(run, chunks(tiles), self._points.device)

    def _tiles(self, pairs: Pairs, keep: bool) -> Sequence[slice | Tile]:
        """Split the data into rows, or into tiles that were kept.

        They are to be kept for reductions that are asked again and again, if the
        features of all samples fit the memory.
        """
        n, height, budget = len(self._points), pairs.height, self._budget()
        item = self._points.element_size()
        per_row = item * (height + len(pairs.order))
        rows = min(max(_TILE_BYTES // per_row, _MIN_ROWS), _MAX_ROWS)
        rows = max(1, min(rows, budget // per_row))
        slices = [slice(i, i + rows) for i in range(0, n, rows)]
        key = (pairs.structure, rows)
        if key not in self._cache:
            if not keep or n * item * height > budget:
                return slices
            tiles = map_threads(
                lambda rows: self._tile(rows, pairs), slices, self._points.device
            )
            self._cache = {key: tiles}
        return self._cache[key]

    def _budget(self) -> int:
        """Return how many bytes tiles, kept features or sums may take."""
        return min(_CACHE_BYTES, int(get_config()["working_memory"] * 2**20))

    def _tile(self, tile: slice | Tile, pairs: Pairs) -> Tile:
        if isinstance(tile, Tile):
            return tile
        coordinates = self._coordinates(pairs.structure, pairs.bare)
        return pairs.tile(tile, coordinates.of_points(self._points[tile]))


@dataclass(frozen=True)
class _Shares:
    """Terms of the sums over components: ``p_ij = 2^(level_i) value_ji``.

    Attributes
    ----------
    level : Tensor of shape (n,)
    values : Tensor of shape (M, n)
    total : Tensor of shape (n,)
        Their sums over components.
    """

    level: Tensor
    values: Tensor
    total: Tensor

    def log_density(self) -> Tensor:
        """Return log2 p(x_i), of shape (n,)."""
        return self.total.log2().add_(self.level)

    def scale(self) -> Tensor:
        """Return the factors, (n,), that make responsibilities of the values."""
        return self.total.clamp_min(torch.finfo(self.total.dtype).tiny).reciprocal_()


def _shares(tile: Tile, pairs: Pairs, memory: Tensor, level: Tensor | None) -> _Shares:
    """Return the shares of a tile, relative to the `level` if that will do."""
    if level is not None:
        values = pairs.logits(tile, memory, level).exp2_()
        total = values.sum(0)
        low, high = (float(bound) for bound in torch.aminmax(total))
        safe = _SAFE_SUMS[total.dtype]
        if 1 / safe < low and high < safe:
            return _Shares(level.clone(), values, total)
    return _exponentiate(pairs.logits(tile, memory))


def _exponentiate(logits: Tensor) -> _Shares:
    """Return shares relative to the largest of each sample, in the logits' place."""
    top = logits.amax(0)
    # A point infinitely unlikely under every component belongs to none.
    level = torch.where(top == -torch.inf, 0.0, top)
    values = logits.sub_(level).exp2_()
    return _Shares(level, values, values.sum(0))


class _Memory:
    """Memory that the tiles of one thread take turns to use."""

    def __init__(self, like: Tensor) -> None:
        self._memory = like.new_empty(0)

    def for_logits(self, tile: Tile, pairs: Pairs) -> Tensor:
        """Return an array of shape (M, n), for the logits of a tile."""
        n_components, n = len(pairs.order), tile.features.shape[1]
        if len(self._memory) < n_components * n:
            self._memory = self._memory.new_empty(n_components * n)
        return self._memory[: n_components * n].view(n_components, n)


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


def _untied(components: Components) -> Components:
    """Give each component of a tied mixture its own copy of the factor."""
    if components.structure != "tied":
        return components
    n_components = len(components.offsets)
    return replace(
        components,
        structure="full",
        factors=components.factors.expand(n_components, -1, -1),
    )
