"""Log-densities and moments of all pairs of one tile, in whichever form is exact.

Each component takes the expanded form where that does not cancel, the direct form
where it does, so that one narrow component does not slow the others down.
Log-densities are to base 2: see `sklearn_keops_gmm.backends._torch`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sklearn_keops_gmm._parameters import Components, Moments
from sklearn_keops_gmm.backends._direct import DIRECT, Direct
from sklearn_keops_gmm.backends._expanded import EXPANSIONS, Expansion

# Rounding error of a log-density that the expanded form may leave, per dtype.
_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}

# Features from which differences are multiplied as fast as anything.
_WIDE = 32
# Coordinates of direct components that are worth a call, even of a short tile.
_CHUNK = 256


@dataclass(frozen=True)
class Tile:
    """Some rows of the data, in the frame.

    Attributes
    ----------
    rows : slice
    features : Tensor of shape (F, n)
        One, the coordinates and, if they are needed, their squares.
    """

    rows: slice
    features: Tensor

    def points(self, n_features: int) -> Tensor:
        """Return the coordinates, (n, D)."""
        return self.features[1 : 1 + n_features].mT


@dataclass(frozen=True)
class Pairs:
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
    bare : bool
        Whether tiles need no features but the coordinates.
    """

    order: Tensor
    coefficients: Tensor
    direct: Components
    means: Tensor
    structure: str
    bare: bool

    @property
    def _expansion(self) -> Expansion:
        return EXPANSIONS[self.structure]

    @property
    def _direct(self) -> Direct:
        return DIRECT[self.structure]

    @classmethod
    def prepare(
        cls, components: Components, dtype: torch.dtype, bare: bool = False
    ) -> Pairs:
        """Choose a form for each of `components`, which are given in the frame.

        The direct one for all, if they are to be `bare` of features.
        """
        expansion = EXPANSIONS[components.structure]
        error = expansion.cancellation(components) * torch.finfo(dtype).eps
        exact = error <= _TOLERANCES[dtype]  # also False for NaN
        if bare:
            exact = torch.zeros_like(exact)
        order = torch.cat((exact.nonzero()[:, 0], (~exact).nonzero()[:, 0]))
        n_expanded = int(exact.sum())
        components = _to_base_2(components)
        return cls(
            order,
            expansion.coefficients(_take(components, order[:n_expanded])).to(dtype),
            _cast(_take(components, order[n_expanded:]), dtype),
            components.means[order],
            components.structure,
            bare,
        )

    @property
    def height(self) -> int:
        """How many numbers a sample makes, its pairs left out."""
        n_features = self.means.shape[1]
        if self.bare:
            return 1 + n_features + 2 * max(len(self.order), _CHUNK)
        return self._expansion.n_features(n_features)

    def tile(self, rows: slice, points: Tensor) -> Tile:
        """Return a tile of (n, D) `points`, with the features that are needed."""
        if self.bare:
            ones = points.new_ones(1, len(points))
            return Tile(rows, torch.cat((ones, points.mT)))
        return Tile(rows, self._expansion.features(points))

    def logits(self, tile: Tile, out: Tensor, level: Tensor | None = None) -> Tensor:
        """Write log2 p_ij, less the `level` of sample i, into `out`, (M, n).

        Rows are in `order`; the levels are of shape (n,).
        """
        expanded = out[: len(self.coefficients)]
        if not self.bare and level is None:
            torch.mm(self.coefficients, tile.features, out=expanded)
        elif not self.bare and level is not None:
            torch.addmm(level, self.coefficients, tile.features, beta=-1, out=expanded)
        for rows, some in self._direct_chunks:
            points = tile.points(self.means.shape[1])
            out[rows] = self._direct.logits(some, points)
            if level is not None:
                out[rows] -= level
        return out

    def moments(
        self, tile: Tile, shares: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sums that a tile adds to the expanded and direct moments.

        Parameters
        ----------
        tile : Tile
        shares : Tensor of shape (M, n)
            Responsibilities up to a factor per sample, rows in `order`.
        scale : Tensor of shape (n,)
            That factor, times the sample weight.

        Returns
        -------
        expanded : Tensor of shape (E, F), float64
            Sums of features.
        direct : Tensor of shape (M - E, 1 + D + ...), float64
            Mass, first and second moments about the means, side by side.
        """
        n_expanded, features = len(self.coefficients), tile.features
        # The smaller matrix gets the factors, and goes first: that suits BLAS.
        if len(features) < n_expanded:
            expanded = ((features * scale) @ shares[:n_expanded].mT).mT
        else:
            expanded = (shares[:n_expanded] * scale) @ features.mT
        points = tile.points(self.means.shape[1])
        direct = [
            torch.cat([part.reshape(len(part), -1) for part in parts], 1).double()
            for parts in (
                self._direct.moments(some, points, shares[rows] * scale)
                for rows, some in self._direct_chunks
            )
        ]
        return expanded.double(), torch.cat(direct) if direct else expanded[:0].double()

    def collect(
        self, expanded: Tensor, direct: Tensor, log_likelihood: float
    ) -> Moments:
        """Return the moments about the means, components in their own order."""
        n_features = self.means.shape[1]
        means = self.means[: len(expanded)]
        mass, first = expanded[:, 0], expanded[:, 1 : 1 + n_features]
        second = self._expansion.second(expanded[:, 1 + n_features :], n_features)
        second = self._expansion.recentre(second, mass, means, first)
        first = first - mass[:, None] * means
        if len(direct):
            mass = torch.cat((mass, direct[:, 0]))
            first = torch.cat((first, direct[:, 1 : 1 + n_features]))
            rest = direct[:, 1 + n_features :].reshape(-1, *second.shape[1:])
            second = torch.cat((second, rest))
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(back), device=back.device)
        return Moments(mass[back], first[back], second[back], log_likelihood)

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


def worth_no_features(components: Components) -> bool:
    """Tell whether features that are used once cost more than they save.

    So it is where they are more numbers than all differences of a sample, and these
    are enough for products of matrices as fast as any.
    """
    n_features = components.means.shape[1]
    n_expanded = EXPANSIONS[components.structure].n_features(n_features)
    return n_features >= _WIDE and n_expanded > components.means.numel()


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
