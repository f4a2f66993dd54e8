"""Reductions over rows with missing features, by patterns, in double precision.

A tile is a batch of patterns: many small products of matrices are one call of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from operator import add
from typing import Self

import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._model import (
    CONDITIONALS,
    Components,
    Conditionals,
    Frame,
    Moments,
    Structure,
    conditionals_of,
)
from sklearn_keops_gmm.backends._patterns import Patterns, PatternTile
from sklearn_keops_gmm.backends._protocol import ReductionsFactory, in_same_frame
from sklearn_keops_gmm.backends._threads import chunks, map_threads
from sklearn_keops_gmm.backends._torch._reductions import TorchReductions
from sklearn_keops_gmm.backends._workspace import memory_budget

# Numbers in the largest array of a tile, for the cache of a core; a GPU takes more.
_NUMBERS, _ON_A_GPU = 2**17, 2**24
# Below this the rounding of log-densities hides which component is the most probable.
_UNLIKELY = -1.0 / torch.finfo(torch.float64).eps


class IncompleteRows:
    """Reductions over rows of which all, as a rule, miss something.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        NaN where a feature is missing.
    sample_weight : Tensor of shape (N,) or None
    frame : Frame
    """

    structures = CONDITIONALS.keys()
    in_memory = True

    def __init__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> None:
        self._points = points
        self._sample_weight = sample_weight
        self._frame = frame
        self._patterns = Patterns(points)

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None for ones."""
        return self._sample_weight

    def of_rows(self, rows: Tensor) -> IncompleteRows:
        """Return the reductions over some rows."""
        rows = rows.to(self._points.device)
        weights = self._sample_weight
        some = None if weights is None else weights[rows]
        return IncompleteRows(self._points[rows], some, self._frame)

    def reweighted(self, weights: Tensor) -> Self:
        """Return the reductions over the same rows with other weights, (N,)."""
        other = copy(self)
        other._sample_weight = weights
        return other

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds other points in the same frame."""
        return partial(in_same_frame, IncompleteRows, self._frame)

    def log_density(self, components: Components) -> Tensor:
        """Return the log-densities of what is observed, (N,)."""
        out = self._points.new_empty(len(self._points))

        def fill(tile: _Tile) -> None:
            out[tile.own] = tile.log_density[tile.counts].to(out.dtype)

        self._visit(components, fill)
        return out

    def labels(self, components: Components) -> Tensor:
        """Return the most probable components given what is observed, (N,)."""
        out = self._points.new_empty(len(self._points), dtype=torch.int64)

        def fill(tile: _Tile) -> None:
            out[tile.own] = tile.logits.argmax(1)[tile.counts]

        for some in self._unlikely(components, fill):
            out[some.rows] = some.reductions.labels(some.components)
        return out

    def responsibilities(self, components: Components) -> Tensor:
        """Return the probabilities given what is observed, (N, M)."""
        out = self._points.new_empty(len(self._points), len(components.offsets))

        def fill(tile: _Tile) -> None:
            shares = tile.logits.softmax(1).mT[tile.counts]
            out[tile.own] = shares.to(out.dtype)

        for some in self._unlikely(components, fill):
            shares = some.reductions.responsibilities(some.components)
            out[some.rows] = shares.to(out.dtype)
        return out

    def moments(self, components: Components) -> Moments:
        """Return the expected moments about ``components.means``."""
        framed = components.in_frame(self._frame)

        def sums_of(tiles: Sequence[PatternTile]) -> Moments:
            return reduce(add, (self._tile(tile, framed).moments() for tile in tiles))

        tiles = chunks(self._tiles(framed))
        parts = map_threads(sums_of, tiles, self._points.device)
        return reduce(add, parts).from_frame(self._frame)

    # -- what is missing -------------------------------------------------------------

    def imputed(self, components: Components) -> Tensor:
        """Return the points, (N, D), with conditional means where features miss."""
        shares = self.responsibilities(components).double()

        def found(tile: _Tile, means: Tensor) -> Tensor:
            of_each = shares[tile.rows].mT[..., None]  # (P, M, n, 1)
            completed = tile.conditionals.completed(tile.differences)
            return (of_each * (completed + means[:, None])).sum(1)

        return self._filled(components, found)

    def drawn(self, components: Components, random_state: RandomState) -> Tensor:
        """Return the points, (N, D), with conditional draws where features miss."""
        shares = self.responsibilities(components).double()
        shape = self._points.shape
        uniform = torch.from_numpy(random_state.uniform(size=(len(shares), 1)))
        normal = torch.from_numpy(random_state.standard_normal(shape))
        uniform, normal = uniform.to(shares.device), normal.to(shares.device)
        sums = shares.cumsum(1)
        labels = (sums[:, :-1] <= uniform * sums[:, -1:]).sum(1)

        def found(tile: _Tile, means: Tensor) -> Tensor:
            completed = tile.conditionals.completed(tile.differences)
            noise = tile.conditionals.drawn(normal[tile.rows][:, None])
            of_each = completed + noise + means[:, None]  # (P, M, n, D)
            chosen = labels[tile.rows][:, None, :, None]
            return of_each.gather(1, chosen.expand(-1, -1, -1, shape[1]))[:, 0]

        return self._filled(components, found)

    def _filled(
        self, components: Components, found: Callable[[_Tile, Tensor], Tensor]
    ) -> Tensor:
        """Return the points with what a function finds of each tile, in the frame."""
        out, frame = self._points.clone(), self._frame
        means = components.in_frame(frame).means

        def fill(tile: _Tile) -> None:
            values = frame.centre + frame.scale * found(tile, means)
            given = self._points[tile.own]
            some = values[tile.counts].to(given.dtype)
            out[tile.own] = torch.where(given.isnan(), some, given)

        self._visit(components, fill)
        return out

    # -- tiles -----------------------------------------------------------------------

    def _visit(self, components: Components, visit: Callable[[_Tile], None]) -> None:
        """Call a function with each tile."""
        framed = components.in_frame(self._frame)

        def run(tiles: Sequence[PatternTile]) -> None:
            for tile in tiles:
                visit(self._tile(tile, framed))

        map_threads(run, chunks(self._tiles(framed)), self._points.device)

    def _tiles(self, components: Components) -> list[PatternTile]:
        """Divide the rows into tiles that the cache has room for."""
        n_components, n_features = components.means.shape
        per_row = n_components * n_features
        per_pattern = components.factors.numel()
        on_cpu = self._points.device.type == "cpu"
        most = min(_NUMBERS if on_cpu else _ON_A_GPU, memory_budget() // 8)
        return list(self._patterns.tiles(per_row, per_pattern, most))

    def _tile(self, tile: PatternTile, components: Components) -> _Tile:
        """Bind a tile to components in the frame."""
        conditionals = conditionals_of(components, tile.observed)
        # Densities are those of the original coordinates.
        n_missing = (~tile.observed).double().sum(1, keepdim=True)
        lengths = n_missing * math.log(self._frame.scale)
        points = self._framed(tile.rows)[:, None] - components.means[:, None]
        points = torch.where(tile.observed[:, None, None], points, 0.0)
        weights = tile.counts.to(points)
        if self._sample_weight is not None:
            weights = weights * self._sample_weight[tile.rows]
        return _Tile(tile, conditionals, points, weights, lengths)

    def _framed(self, rows: Tensor) -> Tensor:
        """Return rows of any shape in the frame."""
        return (self._points[rows].double() - self._frame.centre) / self._frame.scale

    # -- samples that are unlikely under all components ------------------------------

    def _unlikely(
        self, components: Components, visit: Callable[[_Tile], None]
    ) -> Iterator[_OnePattern]:
        """Visit all tiles, and then yield the rows whose answers rounding hides."""
        found: list[Tensor] = []

        def visit_and_note(tile: _Tile) -> None:
            visit(tile)
            unlikely = ~(tile.log_density >= _UNLIKELY) & tile.counts
            found.append(tile.rows[unlikely])

        self._visit(components, visit_and_note)
        rows = torch.cat(found)
        if len(rows) > 0:
            framed = components.in_frame(self._frame)
            some = Patterns(self._points[rows])
            for tile in some.tiles(1, len(rows), 2 * len(rows)):
                yield self._alone(replace(tile, rows=rows[tile.rows]), framed)

    def _alone(self, tile: PatternTile, components: Components) -> _OnePattern:
        """Return rows of one pattern, as samples with fewer features."""
        conditionals = conditionals_of(components, tile.observed)
        rows, features = tile.rows[0], tile.observed[0].nonzero()[:, 0]
        marginal = Components(
            components.structure,
            conditionals.offsets[0],
            components.means[:, features],
            conditionals.marginal_factors(features),
        )
        points = self._framed(rows)[:, features]
        frame = Frame(torch.zeros_like(points[0]))
        return _OnePattern(rows, TorchReductions(points, None, frame), marginal)


@dataclass(frozen=True)
class _OnePattern:
    """Rows of one pattern, and the components of what they have."""

    rows: Tensor
    reductions: TorchReductions
    components: Components


@dataclass(frozen=True)
class _Tile:
    """Rows of some patterns, and components in a frame.

    Attributes
    ----------
    pattern : PatternTile
    conditionals : Conditionals
    differences : Tensor of shape (P, M, n, D)
        To the means; zero where features are missing.
    weights : Tensor of shape (P, n)
        Zero for rows that are there once more.
    lengths : Tensor of shape (P, 1)
        The logarithm of the volume of the frame's unit cube of missing features.
    """

    pattern: PatternTile
    conditionals: Conditionals
    differences: Tensor
    weights: Tensor
    lengths: Tensor

    @property
    def rows(self) -> Tensor:
        """All rows, (P, n)."""
        return self.pattern.rows

    @property
    def counts(self) -> Tensor:
        """Which of them are meant, (P, n)."""
        return self.pattern.counts

    @property
    def own(self) -> Tensor:
        """The rows that are meant, one after another."""
        return self.rows[self.counts]

    @cached_property
    def logits(self) -> Tensor:
        """The log p_ij, (P, M, n)."""
        distances = self.conditionals.squared_distances(self.differences)
        offsets = self.conditionals.offsets + self.lengths
        return offsets[..., None] - 0.5 * distances

    @cached_property
    def log_density(self) -> Tensor:
        """Their ``logsumexp_j``, (P, n); zero where nothing is observed."""
        found = self.logits.logsumexp(1)
        return torch.where(self.pattern.observed.any(1)[:, None], found, 0.0)

    def moments(self) -> Moments:
        """Return the expected moments in the frame."""
        density = self.log_density
        # A point infinitely unlikely under every component belongs to none.
        certain = density != -torch.inf
        shares = self.logits.softmax(1) * self.weights[:, None]
        shares = torch.where(certain[:, None], shares, 0.0)
        counted = torch.where(self.weights > 0, density * self.weights, 0.0)
        completed = self.conditionals.completed(self.differences)
        mass = shares.sum(2)  # (P, M)
        n_missing = (~self.pattern.observed).sum(1, keepdim=True)
        peaks = self.conditionals.peaks - self.lengths - 0.5 * n_missing
        return Moments(
            mass.sum(0),
            (shares[..., None] * completed).sum((0, 2)),
            self.conditionals.second(completed, shares),
            float(counted.sum()),
            float((mass * peaks).sum()),
        )
