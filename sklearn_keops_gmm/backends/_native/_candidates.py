"""The candidates of samples, from step to step."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments
from sklearn_keops_gmm.backends._native._modules import native_module
from sklearn_keops_gmm.backends._native._nearest import NearestMeans
from sklearn_keops_gmm.backends._native._structures import NATIVE_STRUCTURES
from sklearn_keops_gmm.backends._threads import MAX_CHUNKS, map_threads, slices

# How many neighbours a component has, at least and for each candidate of a sample: in
# the first steps, which decide what is found at all, and later.
_WIDE_STEPS, _WIDE, _NARROW = 3, (60, 12), (30, 4)
# So many times as many candidates a row has in the first steps, which decide where a
# fit ends; and what is left of them after each step from then on.
_MANY_STEPS, _MANY, _LEFT = 3, 3, 0.8
# They are sought in each of so many steps, then in one of so many: few change later.
_EACH_STEP, _EVERY = 6, 3
# Of so many candidates at a time shares are summed up.
_ITEMS = 2**20
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

    All but the moments that are returned is in the frame. Components are numbered so
    that those near each other are read from the cache, where they are since the last
    rows.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    frame : Frame
    sample_weight : Tensor of shape (N,) or None
    count : int
        How many candidates a row has; if that is more than one, it has more of them in
        the first steps, and until it can lose them without a fall of the likelihood.
    components : Components
        To begin with.
    """

    def __init__(
        self,
        points: Tensor,
        frame: Frame,
        sample_weight: Tensor | None,
        count: int,
        components: Components,
    ) -> None:
        self.n_components, self._frame = len(components.offsets), frame
        self._fewest = min(count, self.n_components)
        many = _MANY * count if count > 1 else count
        self._n_steps, self._last = 0, -math.inf
        whitening = _whitening(components)
        means = (components.means @ whitening).float()
        nearest = NearestMeans(means)
        self._members = nearest.order
        numbers = torch.empty_like(nearest.order)
        numbers[nearest.order] = torch.arange(self.n_components)
        near = nearest.find(means[self._members], self._n_neighbours(_WIDE))[1]
        self._neighbours = numbers[near].to(torch.int32)
        leaders = torch.empty(len(points), dtype=torch.int32)
        for part in slices(len(points)):
            rows = _local(points[part], frame).float() @ whitening.float()
            leaders[part] = numbers[nearest.find(rows, 1)[1][:, 0]]
        # Rows that are read together lie side by side: most of them stay so.
        self._order, _ = self._grouped(leaders)
        self._rows = torch.empty_like(points)
        for part in slices(len(points)):
            self._rows[part] = _local(points[self._order[part]], frame)
        self._weights = None if sample_weight is None else sample_weight[self._order]
        shape = len(points), min(many, self.n_components)
        self._candidates = torch.full(shape, -1, dtype=torch.int32)
        self._candidates[:, 0] = leaders[self._order]

    def leaders(self) -> Tensor:
        """Return the best candidate of each row, (N,), int64."""
        leaders = torch.empty(len(self._rows), dtype=torch.int64)
        leaders[self._order] = self._members[self._candidates[:, 0].long()]
        return leaders

    def step(self, components: Components) -> Moments:
        """Find better candidates, and return the moments that their shares make."""
        self._n_steps += 1
        packed = self._packed(components, self._rows.dtype)
        if self._n_steps <= _EACH_STEP or self._n_steps % _EVERY == 0 or self._fewer():
            self._search(components, packed)
        sums, self._last = self._shared(components, packed)
        structure = NATIVE_STRUCTURES[components.structure]
        n_features = components.means.shape[1]
        # Out of the frame, before matrices are made of their triangles.
        sums[:, 1:] *= self._frame.scale
        sums[:, 1 + n_features :] *= self._frame.scale
        moments = structure.moments_of_each(sums, self.n_components, n_features)
        return Moments(*moments, self._last)

    def _packed(self, components: Components, dtype: torch.dtype) -> np.ndarray:
        """Return components as the loops read them."""
        structure, (_, n_features) = components.structure, components.means.shape
        factors = NATIVE_STRUCTURES[structure].prepare(components)
        given = components.offsets, components.means, factors, self._members
        width = _width(_KINDS[structure], n_features)
        packed = torch.empty(self.n_components, width, dtype=dtype).numpy()
        arrays = [array.contiguous().numpy() for array in given]
        _native().pack(_KINDS[structure], *arrays, packed)
        return packed

    def _shared(
        self, components: Components, packed: np.ndarray
    ) -> tuple[Tensor, float]:
        """Return the sums that shares make, and the log-likelihood.

        Some rows follow others, for what is kept of them on the way is large beside
        them.
        """
        n_items = self._candidates.numel()
        pieces = slices(len(self._rows), -(-n_items // _ITEMS))
        found = (self._shared_of(components, packed, rows) for rows in pieces)
        sums, log_likelihood = next(found)
        for more, others in found:
            sums += more
            log_likelihood += others
        return sums, log_likelihood

    def _shared_of(
        self, components: Components, packed: np.ndarray, some: slice
    ) -> tuple[Tensor, float]:
        kind, rows = _KINDS[components.structure], self._rows[some]
        candidates = self._candidates[some]
        weights = None if self._weights is None else self._weights[some]
        shares, keys = rows.new_empty(candidates.shape), torch.empty_like(candidates)

        def visit(part: slice) -> float:
            own = None if weights is None else weights[part].numpy()
            written = [array[part].numpy() for array in (candidates, shares, keys)]
            sizes = len(keys[part]), self.n_components
            found: float = _native().share(
                kind, rows[part].numpy(), own, packed, *written, *sizes
            )
            return found

        found = sum(map_threads(visit, slices(len(keys)), keys.device))
        return self._sums(components, rows, shares, keys), found

    def _n_neighbours(self, numbers: tuple[int, int]) -> int:
        least, per_candidate = numbers
        return min(self.n_components, max(least, per_candidate * self._fewest))

    def _search(self, components: Components, packed: np.ndarray) -> None:
        """Replace candidates by better ones.

        Where fewer have a larger log-likelihood than all had in the step before, the
        others are of no more use: so none of its steps is a fall.
        """
        wide = self._n_steps < _WIDE_STEPS
        n_neighbours = self._n_neighbours(_WIDE if wide else _NARROW)
        renewed = self._neighbours.new_empty(self.n_components, n_neighbours)
        order, bounds = self._grouped(self._candidates[:, 0].contiguous())
        means = components.means[self._members]
        given = means, order, bounds, self._neighbours, self._candidates, renewed
        weights = None if self._weights is None else self._weights.numpy()
        rough = self._packed(components, torch.float32)
        arrays = self._rows.numpy(), weights, packed, rough, *(a.numpy() for a in given)
        kind, fewer = _KINDS[components.structure], self._fewer()

        def visit(some: tuple[int, int]) -> float:
            numbers = *some, _HOPS, self._n_steps, fewer
            found: float = _native().search(kind, *arrays, *numbers)
            return found

        found = sum(map_threads(visit, _parts(bounds), order.device))
        self._neighbours = renewed
        rounding = torch.finfo(self._rows.dtype).eps * abs(self._last)
        if fewer and found >= self._last - rounding:
            self._candidates = self._candidates[:, :fewer].contiguous()

    def _fewer(self) -> int:
        """Return how many candidates would do, if they are to become fewer, or 0."""
        count = self._candidates.shape[1]
        fewer = max(self._fewest, int(_LEFT * count))
        return 0 if self._n_steps <= _MANY_STEPS or fewer == count else fewer

    def _sums(
        self, components: Components, points: Tensor, shares: Tensor, keys: Tensor
    ) -> Tensor:
        """Return the sums over the rows with a share, side by side for a component."""
        order, bounds = self._grouped(keys.view(-1))
        kind, means = _KINDS[components.structure], components.means
        given = points, shares, order, bounds, means.contiguous(), self._members
        arrays = [array.numpy() for array in given]
        size = _n_sums(kind, means.shape[1])
        sums = means.new_empty(self.n_components, size)

        def visit(some: tuple[int, int]) -> None:
            _native().shared_moments(kind, *arrays, *some, sums.numpy())

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


def _local(points: Tensor, frame: Frame) -> Tensor:
    """Return points in the frame."""
    # A share of infinity, if it is 0, would be NaN in the sums of all samples.
    limit = torch.finfo(points.dtype).max / 4
    local = (points.double() - frame.centre).div_(frame.scale)
    return local.to(points.dtype).clamp_(-limit, limit)


def _width(kind: str, n_features: int) -> int:
    """Return how many numbers the loops read of a component."""
    bands = range(0, n_features, _BLOCK)
    factor = {
        "full": sum(_BLOCK * min(start + _BLOCK, n_features) for start in bands),
        "diag": n_features,
        "spherical": 1,
    }
    return 1 + n_features + factor[kind]


def _factors(components: Components) -> Tensor:
    """Return a factor of each component, (M, D, D), (M, D) or (M, 1)."""
    prepared = NATIVE_STRUCTURES[components.structure].prepare(components)
    n_components, n_features = components.means.shape
    if _KINDS[components.structure] == "full":
        return prepared.expand(n_components, n_features, n_features)
    return prepared.view(n_components, -1)


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
