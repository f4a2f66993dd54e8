"""The candidates of samples, from step to step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._native._modules import native_module
from sklearn_keops_gmm.backends._native._nearest import NearestMeans
from sklearn_keops_gmm.backends._native._structures import NATIVE_STRUCTURES
from sklearn_keops_gmm.backends._threads import MAX_CHUNKS, map_threads, slices

# How many neighbours a component has, at least and for each candidate of a sample: in
# the first steps, which decide what is found at all, and later.
_WIDE_STEPS, _WIDE, _NARROW = 3, (60, 60), (30, 4)
# So many times as many candidates a row has in the first steps, which decide where a
# fit ends; and what is left of them after each step from then on.
_MANY_STEPS, _MANY, _LEFT = 5, 3, 0.8
# Of so many candidates at a time shares are summed up.
_ITEMS = 2**22
# How many neighbours of neighbours are tried in each step.
_HOPS = 32
# So many components tell the shape that all have in common.
_ENOUGH = 1000
# Columns of factors come in blocks of so many.
_BLOCK = 4
# The kinds of factors that the loops know.
_KINDS = {"full": "full", "tied": "full", "diag": "diag", "spherical": "spherical"}


class Candidates:
    """Rows with a few components each, and the neighbours of these.

    Everything is in the frame. Components are numbered so that those near each other
    are read from the cache, where they are since the last rows.

    Parameters
    ----------
    rows : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    count : int
        How many candidates a row has; if that is more than one, it has more of them in
        the first steps, and until it can lose them without a fall of the likelihood.
    components : Components
        To begin with.
    """

    def __init__(
        self,
        rows: Tensor,
        sample_weight: Tensor | None,
        count: int,
        components: Components,
    ) -> None:
        self.n_components = len(components.offsets)
        self._fewest = min(count, self.n_components)
        many = _MANY * count if count > 1 else count
        self._n_steps, self._last = 0, -math.inf
        whitening = _whitening(components)
        means = (components.means @ whitening).float()
        nearest = NearestMeans(means)
        self._members = nearest.order
        self._numbers = torch.empty_like(nearest.order)
        self._numbers[nearest.order] = torch.arange(self.n_components)
        near = nearest.find(means[self._members], self._n_neighbours(_WIDE))[1]
        self._neighbours = self._numbers[near].to(torch.int32)
        found = nearest.find(rows.float() @ whitening.float(), 1)[1]
        leaders = self._numbers[found[:, 0]].to(torch.int32)
        # Rows that are read together lie side by side: most of them stay so.
        self._order, _ = self._grouped(leaders)
        self._rows = rows[self._order]
        self._weights = None if sample_weight is None else sample_weight[self._order]
        shape = len(rows), min(many, self.n_components)
        self._candidates = torch.full(shape, -1, dtype=torch.int32)
        self._candidates[:, 0] = leaders[self._order]

    def leaders(self) -> Tensor:
        """Return the best candidate of each row, (N,), int64."""
        leaders = torch.empty(len(self._rows), dtype=torch.int64)
        leaders[self._order] = self._members[self._candidates[:, 0].long()]
        return leaders

    def step(self, components: Components) -> Moments:
        """Find better candidates, and return the moments that their shares make."""
        components = _renumbered(components, self._members)
        levels = self._rows.new_empty(self._candidates.shape)
        self._search(components, levels)
        levels = self._kept(levels)
        sums, log_likelihood = self._shared(components, levels)
        self._last = log_likelihood
        structure = NATIVE_STRUCTURES[components.structure]
        moments = structure.moments_of_each(
            sums[self._numbers], *components.means.shape
        )
        return Moments(*moments, log_likelihood)

    def _kept(self, levels: Tensor) -> Tensor:
        """Return the log-densities of the candidates that are kept, the best.

        Where fewer have a larger log-likelihood than all had in the step before, the
        others are of no more use: so none of its steps is a fall.
        """
        count = levels.shape[1]
        fewer = max(self._fewest, int(_LEFT * count))
        if self._n_steps <= _MANY_STEPS or fewer == count:
            return levels
        rounding = torch.finfo(levels.dtype).eps * abs(self._last)
        if not self._log_likelihood(levels[:, :fewer]) >= self._last - rounding:
            return levels
        self._candidates = self._candidates[:, :fewer].contiguous()
        return levels[:, :fewer]

    def _log_likelihood(self, levels: Tensor) -> float:
        """Return that of log-densities to base 2, (N, K)."""

        def visit(rows: slice) -> float:
            found = (levels[rows].double() * math.log(2.0)).logsumexp(1)
            if self._weights is not None:
                weights = self._weights[rows].double()
                found = torch.where(weights > 0, weights * found, 0.0)
            return float(found.sum())

        return sum(map_threads(visit, slices(len(levels)), levels.device))

    def _shared(self, components: Components, levels: Tensor) -> tuple[Tensor, float]:
        """Return the sums that shares make, and the log-likelihood.

        The log-densities become shares. Some rows follow others, for what is kept of
        them on the way is large beside them.
        """
        pieces = slices(len(levels), -(-levels.numel() // _ITEMS))
        found = (self._shared_of(components, levels, rows) for rows in pieces)
        sums, log_likelihood = next(found)
        for more, others in found:
            sums += more
            log_likelihood += others
        return sums, log_likelihood

    def _shared_of(
        self, components: Components, levels: Tensor, rows: slice
    ) -> tuple[Tensor, float]:
        keys = torch.empty_like(self._candidates[rows])
        shares = levels[rows].contiguous()
        log_likelihood = self._share(rows, shares, keys)
        return self._sums(components, self._rows[rows], shares, keys), log_likelihood

    def _n_neighbours(self, numbers: tuple[int, int]) -> int:
        least, per_candidate = numbers
        return min(self.n_components, max(least, per_candidate * self._fewest))

    def _search(self, components: Components, levels: Tensor) -> None:
        """Replace the candidates by the best that are found, with log-densities."""
        self._n_steps += 1
        wide = self._n_steps < _WIDE_STEPS
        n_neighbours = self._n_neighbours(_WIDE if wide else _NARROW)
        renewed = self._neighbours.new_empty(self.n_components, n_neighbours)
        order, bounds = self._grouped(self._candidates[:, 0].contiguous())
        arrays = [
            array.numpy()
            for array in (
                self._rows,
                _packed(components, self._rows.dtype),
                order,
                bounds,
                self._neighbours,
                self._candidates,
                levels,
                renewed,
            )
        ]
        search, kind = _native().search, _KINDS[components.structure]

        def visit(some: tuple[int, int]) -> None:
            search(kind, *arrays, *some, _HOPS, self._n_steps)

        map_threads(visit, _parts(bounds), levels.device)
        self._neighbours = renewed

    def _share(self, some: slice, levels: Tensor, keys: Tensor) -> float:
        """Turn log-densities into weighted shares, and say which candidates have one.

        Returns the log-likelihood.
        """
        candidates = self._candidates[some]
        weights = None if self._weights is None else self._weights[some]

        def visit(rows: slice) -> float:
            own = None if weights is None else weights[rows].numpy()
            arrays = candidates[rows].numpy(), own, levels[rows].numpy()
            found: float = _native().share(*arrays, keys[rows].numpy(), len(keys[rows]))
            return found

        return sum(map_threads(visit, slices(len(levels)), levels.device))

    def _sums(
        self, components: Components, points: Tensor, shares: Tensor, keys: Tensor
    ) -> Tensor:
        """Return the sums over the rows with a share, side by side for a component."""
        order, bounds = self._grouped(keys.view(-1))
        kind, means = _KINDS[components.structure], components.means
        given = (points, shares, order, bounds, means.double().contiguous())
        arrays = [array.numpy() for array in given]
        size = _n_sums(kind, means.shape[1])
        sums = means.new_empty(self.n_components, size, dtype=torch.float64)

        def visit(some: tuple[int, int]) -> None:
            out = sums[slice(*some)].numpy()
            _native().shared_moments(kind, *arrays, *some, out)

        map_threads(visit, _parts(bounds), shares.device)
        return sums

    def _grouped(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return items sorted by their components, and where those of each begin."""
        order = torch.empty(len(keys), dtype=torch.int64)
        bounds = torch.empty(self.n_components + 1, dtype=torch.int64)
        _native().group(keys.numpy(), bounds.numpy(), order.numpy())
        return order, bounds


def _native() -> Any:
    """Return the compiled module, which has no annotations."""
    return native_module()


def _n_sums(kind: str, n_features: int) -> int:
    """Return how many sums a component has: mass, first and second moments."""
    second = {
        "full": n_features * (n_features + 1) // 2,
        "diag": n_features,
        "spherical": 1,
    }
    return 1 + n_features + second[kind]


def _parts(bounds: Tensor) -> list[tuple[int, int]]:
    """Cut groups into runs with about as many items each."""
    n_groups = len(bounds) - 1
    ends = bounds[-1] * torch.arange(1, MAX_CHUNKS) // MAX_CHUNKS
    cuts = [0, *torch.searchsorted(bounds, ends).tolist(), n_groups]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def _renumbered(components: Components, order: Tensor) -> Components:
    """Return components in another order."""
    shared = components.structure == "tied"
    return replace(
        components,
        offsets=components.offsets[order],
        means=components.means[order],
        factors=components.factors if shared else components.factors[order],
    )


def _factors(components: Components) -> Tensor:
    """Return a factor of each component, (M, D, D), (M, D) or (M, 1)."""
    prepared = NATIVE_STRUCTURES[components.structure].prepare(components)
    n_components, n_features = components.means.shape
    if _KINDS[components.structure] == "full":
        return prepared.expand(n_components, n_features, n_features)
    return prepared.view(n_components, -1)


def _packed(components: Components, dtype: torch.dtype) -> Tensor:
    """Return components as the loops read them: offset, mean and factor, to base 2."""
    factors = _factors(components) * math.sqrt(0.5 / math.log(2.0))
    offsets = components.offsets[:, None] / math.log(2.0)
    parts = offsets, components.means, *_bands(factors)
    return torch.cat([part.to(dtype) for part in parts], 1)


def _bands(factors: Tensor) -> Iterator[Tensor]:
    """Yield parts of factors, (M, n); of matrices bands down to their diagonals."""
    if factors.ndim == 2:
        yield factors
        return
    n_features = factors.shape[2]
    factors = torch.nn.functional.pad(factors, (0, -n_features % _BLOCK))
    for start in range(0, n_features, _BLOCK):
        end = start + _BLOCK
        yield factors[:, :end, start:end].flatten(1)


def _whitening(components: Components) -> Tensor:
    """Return W, (D, D): in coordinates x @ W the mean covariance is the identity."""
    n_components, n_features = components.means.shape
    factors = _factors(components)[:: -(-n_components // _ENOUGH)]
    if factors.ndim == 2:
        return (factors**-2).mean(0).rsqrt().expand(n_features).diag()
    identity = torch.eye(n_features, dtype=factors.dtype)
    inverses = torch.linalg.solve_triangular(factors, identity, upper=True)
    covariance = (inverses.mT @ inverses).mean(0)
    lower = torch.linalg.cholesky(covariance)
    return torch.linalg.solve_triangular(lower, identity, upper=False).mT
