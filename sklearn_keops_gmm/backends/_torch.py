"""The torch backend: tiles small enough for the cache, products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from sklearn import get_config
from torch import Tensor

from sklearn_keops_gmm._parameters import Components, Frame, Moments
from sklearn_keops_gmm.backends._coordinates import Coordinates
from sklearn_keops_gmm.backends._expanded import EXPANSIONS
from sklearn_keops_gmm.backends._pairs import Pairs, Tile
from sklearn_keops_gmm.backends._threads import chunks, map_threads, single_thread

_TILE_BYTES = 2**21
_MIN_ROWS, _MAX_ROWS = 256, 8192
_CACHE_BYTES = 2**28


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
        self._coordinates: dict[str, Coordinates] = {}
        self._cache: dict[tuple[str, int], list[Tile]] = {}

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        out = self._points.new_empty(len(self._points))

        def fill(tile: Tile, logits: Tensor, order: Tensor) -> None:
            out[tile.rows] = _exponentiate(logits)[0]

        self._for_each(components, fill)
        return out

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        pairs = self._pairs(components)

        def add(tiles: Sequence[slice | Tile]) -> tuple[Tensor, Tensor, Tensor]:
            sums = [
                self._tile_sums(tile, logits, pairs)
                for tile, logits in self._logits(tiles, pairs)
            ]
            expanded, direct, log_likelihood = zip(*sums, strict=True)
            return sum(expanded), sum(direct), sum(log_likelihood)

        parts = map_threads(add, chunks(self._tiles(pairs)), self._points.device)
        expanded, direct, log_likelihood = (
            sum(part) for part in zip(*parts, strict=True)
        )
        with single_thread():
            moments = pairs.collect(expanded, direct, float(log_likelihood))
            moments = self._coordinates[pairs.structure].moments_back(moments)
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
            _, shares, total = _exponentiate(logits)
            out[tile.rows, order] = shares.div_(total).mT

        self._for_each(components, fill)
        return out

    # -- one tile --------------------------------------------------------------------

    def _tile_sums(
        self, tile: Tile, logits: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a tile adds to the moments and the log-likelihood."""
        log_density, shares, total = _exponentiate(logits)
        scale = total.reciprocal()
        if self._sample_weight is not None:
            weight = self._sample_weight[tile.rows]
            scale *= weight
            # A row without weight has no say, however unlikely it is.
            log_density = torch.where(weight > 0, log_density * weight, 0.0)
        expanded, direct = pairs.moments(tile, shares, scale)
        return expanded, direct, log_density.sum(dtype=torch.float64)

    @single_thread()
    def _pairs(self, components: Components) -> Pairs:
        components = _untied(components)
        structure = components.structure
        if structure not in self._coordinates:
            self._coordinates[structure] = Coordinates(
                self._points, self._frame, whiten=structure == "full"
            )
        components = self._coordinates[structure].of_components(components)
        return Pairs.prepare(components, self._points.dtype)

    # -- all tiles -------------------------------------------------------------------

    def _for_each(
        self, components: Components, visit: Callable[[Tile, Tensor, Tensor], None]
    ) -> None:
        """Show each tile, its logits and the components of their rows to `visit`."""
        pairs = self._pairs(components)

        def run(tiles: Sequence[slice | Tile]) -> None:
            for tile, logits in self._logits(tiles, pairs):
                visit(tile, logits, pairs.order)

        map_threads(run, chunks(self._tiles(pairs)), self._points.device)

    def _logits(
        self, tiles: Sequence[slice | Tile], pairs: Pairs
    ) -> Iterator[tuple[Tile, Tensor]]:
        """Yield tiles with their log p_ij, (M, n), in memory that the next reuses."""
        n_components = len(pairs.order)
        memory = self._points.new_empty(0)
        for rows in tiles:
            tile = self._tile(rows, pairs)
            size = n_components * len(tile.points)
            if len(memory) < size:
                memory = self._points.new_empty(size)
            yield tile, pairs.logits(tile, memory[:size].view(n_components, -1))

    def _tiles(self, pairs: Pairs) -> Sequence[slice | Tile]:
        """Split the data into rows, or tiles where all features fit the memory."""
        n, n_features = self._points.shape
        height = EXPANSIONS[pairs.structure].n_features(n_features)
        item = self._points.element_size()
        rows = _TILE_BYTES // (item * (height + len(pairs.order)))
        rows = min(max(rows, _MIN_ROWS), _MAX_ROWS)
        slices = [slice(i, i + rows) for i in range(0, n, rows)]
        budget = min(_CACHE_BYTES, get_config()["working_memory"] * 2**20)
        if n * item * (height + n_features) > budget:
            return slices
        key = (pairs.structure, rows)
        if key not in self._cache:
            tiles = map_threads(
                lambda rows: self._tile(rows, pairs), slices, self._points.device
            )
            self._cache = {key: tiles}
        return self._cache[key]

    def _tile(self, tile: slice | Tile, pairs: Pairs) -> Tile:
        if isinstance(tile, Tile):
            return tile
        points = self._coordinates[pairs.structure].of_points(self._points[tile])
        return Tile(tile, points, EXPANSIONS[pairs.structure].features(points))


def _exponentiate(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logsumexp, (n,), shares, (M, n), and their sums, (n,), over components.

    The shares take the place of the logits; over their sums they are the softmax.
    """
    top = logits.amax(0)
    # A point infinitely unlikely under every component belongs to none.
    shift = torch.where(top == -torch.inf, 0.0, top)
    shares = logits.sub_(shift).exp_()
    total = shares.sum(0)
    return shift + total.log(), shares, total.clamp_min_(torch.finfo(top.dtype).tiny)


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
