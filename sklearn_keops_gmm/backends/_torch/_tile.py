"""Log-densities and moments of all pairs of one tile, in whichever form is exact.

Each component takes the expanded form, or the direct form if the expanded one would
suffer catastrophic cancellation, so that one narrow component does not slow the others
down.
Log-densities are to base 2: see `sklearn_keops_gmm.backends._torch._reductions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Self

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._precision import TOLERANCES
from sklearn_keops_gmm.backends._torch._coordinates import Coordinates
from sklearn_keops_gmm.backends._torch._direct import Direct
from sklearn_keops_gmm.backends._torch._expanded import Expansion, TileFeatures
from sklearn_keops_gmm.backends._torch._far import Far
from sklearn_keops_gmm.backends._torch._structures import (
    TORCH_STRUCTURES,
    structure_of,
)
from sklearn_keops_gmm.backends._workspace import Workspace

# Samples whose products are summed in the dtype of the tile, at most.
_RUN = 8192

# Coordinates of direct components that are worth a call, even of a short tile.
_CHUNK = 256


class Sums:
    """Sums over samples, float64, in one piece of memory.

    Parameters
    ----------
    expanded : tuple of int
        The shape of that attribute.
    direct : tuple of int
        The shape of that attribute.
    device : torch.device

    Attributes
    ----------
    expanded : Tensor of shape (E, F) or (F, E)
        Of the features, for expanded components.
    direct : Tensor of shape (M - E, 1 + D + ...)
        Mass, first and second moments about the means, side by side, for the others.
    log_density : Tensor of shape ()
        Of log2 p(x_i).
    far : Moments or None
        What rows far away add, if there are any.
    """

    def __init__(
        self, expanded: tuple[int, int], direct: tuple[int, int], device: torch.device
    ) -> None:
        n_expanded, n_direct = math.prod(expanded), math.prod(direct)
        size = n_expanded + n_direct + 1
        self._memory = torch.zeros(size, dtype=torch.float64, device=device)
        self.expanded = self._memory[:n_expanded].view(expanded)
        self.direct = self._memory[n_expanded:-1].view(direct)
        self.log_density = self._memory[-1]
        self.far: Moments | None = None

    def add_far(self, moments: Moments) -> None:
        """Add what some rows far away add."""
        self.far = moments if self.far is None else self.far + moments

    def __iadd__(self, other: Sums) -> Self:
        self._memory += other._memory
        if other.far is not None:
            self.add_far(other.far)
        return self


@dataclass(frozen=True)
class PreparedComponents:
    """Components prepared for tiles of one dtype; rows are in the order `order`.

    Attributes
    ----------
    order : Tensor of shape (M,)
        The expanded components, then the direct ones.
    coefficients : Tensor of shape (E, F)
        Of the expanded components.
    direct : Components
        The other M - E, in the dtype of the tiles.
    means : Tensor of shape (M, D), float64
    structure : str
    coordinates : Coordinates
    far : Far
        All components, in their own order, for what these do not suit.
    """

    order: Tensor
    coefficients: Tensor
    direct: Components
    means: Tensor
    structure: str
    coordinates: Coordinates
    far: Far

    @property
    def _expansion(self) -> Expansion:
        return TORCH_STRUCTURES[self.structure].expansion

    @property
    def _direct(self) -> Direct:
        return TORCH_STRUCTURES[self.structure].direct

    @classmethod
    def prepare(
        cls, components: Components, coordinates: Coordinates, dtype: torch.dtype
    ) -> PreparedComponents:
        """Choose a form for each of `components`."""
        far = Far(components, coordinates)
        components = coordinates.of_components(components)
        expansion = structure_of(components).expansion
        coefficients, cancellation = expansion.coefficients(components)
        limits = torch.finfo(dtype)
        # Beside a far component others are so narrow that their squares underflow.
        narrow = coefficients[:, 1:].abs().amax(1) > limits.max**0.5
        # Also False for NaN.
        exact = (cancellation * limits.eps <= TOLERANCES[dtype]) & ~narrow
        n_expanded = int(exact.sum())
        order = torch.arange(len(exact), device=exact.device)
        means, direct = components.means, _take(components, slice(n_expanded, None))
        if n_expanded < len(exact):
            order = torch.cat((order[exact], order[~exact]))
            coefficients, means = coefficients[order[:n_expanded]], means[order]
            direct = _cast(_to_base_2(_take(components, order[n_expanded:])), dtype)
        coefficients *= math.log2(math.e)
        return cls(
            order,
            coefficients.to(dtype),
            direct,
            means,
            components.structure,
            coordinates,
            far,
        )

    @property
    def all_expanded(self) -> bool:
        """Whether no component takes the direct form."""
        return len(self.coefficients) == len(self.order)

    @property
    def height(self) -> int:
        """How many features a sample has."""
        return self._expansion.n_features(self.means.shape[1])

    def features(self, points: Tensor, workspace: Workspace) -> TileFeatures:
        """Return the features of (D, n) `points`, in the workspace."""
        n_features, n = points.shape
        found = workspace.made(
            (self.structure, n_features),
            partial(
                TileFeatures.within, expansion=self._expansion, n_features=n_features
            ),
            "features",
            self.height,
            n,
        )
        found.fill(points)
        return found

    def logits(self, points: TileFeatures, workspace: Workspace) -> Tensor:
        """Return log2 p_ij, (M, n), rows in `order`, in the workspace."""
        out = workspace.array("logits", len(self.order), len(points.ones))
        expanded = out[: len(self.coefficients)]
        torch.mm(self.coefficients, points.features, out=expanded)
        for rows, some in self._direct_chunks:
            out[rows] = self._direct.logits(some, points.coordinates, workspace)
        return out

    def fill_far(self, logits: Tensor, far: Tensor, given: Tensor) -> None:
        """Write log2 p_ij of the rows `far`, (k,), which are `given` as (k, D)."""
        logits[:, far] = self.far.logits(given)[self.order].to(logits.dtype)

    def add_far(self, sums: Sums, given: Tensor, responsibilities: Tensor) -> None:
        """Add rows far away to the `sums`.

        Parameters
        ----------
        sums : Sums
        given : Tensor of shape (k, D)
        responsibilities : Tensor of shape (M, k)
            Times the sample weights, rows in `order`.
        """
        ordered = torch.empty_like(responsibilities)
        ordered[self.order] = responsibilities
        sums.add_far(self.far.moments(given, ordered))

    def no_sums(self) -> Sums:
        """Return the sums over no samples."""
        n_expanded, height = len(self.coefficients), self.height
        shape = (height, n_expanded) if self._features_first else (n_expanded, height)
        width = 1 + self.means.shape[1] + math.prod(self._shape_of_second)
        direct = len(self.order) - n_expanded, width
        return Sums(shape, direct, self.means.device)

    def add(
        self,
        sums: Sums,
        points: TileFeatures,
        responsibilities: Tensor,
        scale: Tensor,
        workspace: Workspace,
    ) -> None:
        """Add some points to the `sums`, those far away excepted.

        Parameters
        ----------
        sums : Sums
        points : TileFeatures
            Overwritten.
        responsibilities : Tensor of shape (M, n)
            Up to a factor per sample, rows in `order`; overwritten.
        scale : Tensor of shape (n,)
            That factor, times the sample weight.
        workspace : Workspace
        """
        offset = len(self.coefficients)
        for rows, some in self._direct_chunks:
            parts = self._direct.moments(
                some, points.coordinates, responsibilities[rows] * scale, workspace
            )
            row = torch.cat([part.reshape(len(part), -1) for part in parts], 1)
            sums.direct[rows.start - offset : rows.stop - offset] += row
        left, right = responsibilities[:offset], points.features
        # The smaller matrix gets the factors.
        (left if len(left) <= len(right) else right).mul_(scale)
        if self._features_first:
            left, right = right, left
        if left.shape[1] > _RUN:
            sums.expanded.add_(_summed_in_runs(left, right))
        elif left.dtype == sums.expanded.dtype:
            sums.expanded.addmm_(left, right.mT)
        else:
            product = workspace.array("product", len(left), len(right))
            sums.expanded.add_(torch.mm(left, right.mT, out=product))

    @property
    def _features_first(self) -> bool:
        """Which of two matrices goes first, as suits BLAS."""
        return self.height < 2 * len(self.coefficients)

    def collect(self, sums: Sums) -> Moments:
        """Return the moments as they were asked for: in no frame, in that order."""
        moments = self.coordinates.moments_back(self._collect(sums))
        return moments if sums.far is None else moments + sums.far

    def _collect(self, sums: Sums) -> Moments:
        """Return the moments in coordinates, components in their own order."""
        n_features = self.means.shape[1]
        expanded = sums.expanded.mT if self._features_first else sums.expanded
        means = self.means[: len(expanded)]
        mass, first = expanded[:, 0], expanded[:, 1 : 1 + n_features]
        second = self._expansion.second(expanded[:, 1 + n_features :], n_features)
        second = self._expansion.recentre(second, mass, means, first)
        first = first - mass[:, None] * means
        log_likelihood = float(sums.log_density) * math.log(2)
        if len(sums.direct) == 0:
            return Moments(mass, first, second, log_likelihood)
        mass = torch.cat((mass, sums.direct[:, 0]))
        first = torch.cat((first, sums.direct[:, 1 : 1 + n_features]))
        rest = sums.direct[:, 1 + n_features :].reshape(-1, *self._shape_of_second)
        second = torch.cat((second, rest))
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(back), device=back.device)
        return Moments(mass[back], first[back], second[back], log_likelihood)

    @property
    def _shape_of_second(self) -> tuple[int, ...]:
        """The shape of one component's second moments."""
        return self.direct.factors.shape[1:]

    @cached_property
    def _direct_chunks(self) -> list[tuple[slice, Components]]:
        """Split the direct components so that (chunk, D, n) stays near tile size."""
        n_direct = len(self.direct.offsets)
        size = max(1, max(len(self.order), _CHUNK) // self.means.shape[1])
        offset = len(self.coefficients)
        return [
            (
                slice(offset + start, offset + min(start + size, n_direct)),
                _take(self.direct, slice(start, start + size)),
            )
            for start in range(0, n_direct, size)
        ]


def _summed_in_runs(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right^T`` of (A, n) and (B, n), summed in float64 over runs."""
    whole = left.shape[1] // _RUN * _RUN
    runs = (
        array[:, :whole].unflatten(1, (-1, _RUN)).transpose(0, 1)  # (R, A or B, run)
        for array in (left, right)
    )
    of_left, of_right = runs
    total = torch.bmm(of_left, of_right.mT).sum(0, dtype=torch.float64)
    return total.add_(left[:, whole:] @ right[:, whole:].mT)


def _take(components: Components, which: Tensor | slice) -> Components:
    return replace(
        components,
        offsets=components.offsets[which],
        means=components.means[which],
        factors=components.factors[which],
    )


def _to_base_2(components: Components) -> Components:
    """Return components whose log-densities are those of the given to base 2."""
    return replace(
        components,
        offsets=components.offsets * math.log2(math.e),
        factors=components.factors * math.sqrt(math.log2(math.e)),
    )


def _cast(components: Components, dtype: torch.dtype) -> Components:
    return replace(
        components,
        offsets=components.offsets.to(dtype),
        means=components.means.to(dtype),
        factors=components.factors.to(dtype),
    )
