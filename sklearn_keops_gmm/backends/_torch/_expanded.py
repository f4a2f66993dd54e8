"""Quadratic forms as products of matrices.

``-0.5 ||A^T (x - m)||^2`` is linear in the features ``[1, x, x x^T]`` of a point,
so one product of matrices gives it for all pairs of a tile, and another gives the
moments. It is the fastest form, but subject to catastrophic cancellation: its rounding
error is that of its largest terms, those of ``x^T A A^T x`` with x measured from the
origin of the frame. This error is known beforehand, and by it tiles choose this form or
the direct one.

Arrays are component-major, features (F, n) and logits (M, n), so that the long
axis of samples is contiguous.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components
from sklearn_keops_gmm.backends._triangles import places_in_matrix

Operations = list[Callable[[], Tensor]]


class Expansion(ABC):
    """Features of points, coefficients of components, and moments back."""

    @abstractmethod
    def n_features(self, n_features: int) -> int:
        """Count the features F of a point with that many coordinates."""

    @abstractmethod
    def products(self, features: Tensor, n_features: int) -> Operations:
        """Return operations that write products of coordinates into features (F, n)."""

    @abstractmethod
    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor, Tensor]:
        """Return the parts of `coefficients`, and `cancellation`.

        Returns
        -------
        linear : Tensor of shape (M, D)
            Precisions times means.
        squares : Tensor of shape (M, P)
            Coefficients of the products.
        cancellation : Tensor of shape (M,)
        """

    @abstractmethod
    def second(self, sums: Tensor, n_features: int) -> Tensor:
        """Return the second moments about the origin from sums of squares."""

    @abstractmethod
    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        """Move second moments from the origin to `means`."""

    def coefficients(self, components: Components) -> tuple[Tensor, Tensor]:
        """Return coefficients, and the size of the terms that cancel.

        Returns
        -------
        coefficients : Tensor of shape (M, F)
            Their product with features is log p_ij.
        cancellation : Tensor of shape (M,)
            ``r_j^T |A_j A_j^T| r_j``, where r_j is how far its samples reach.
        """
        linear, squares, cancellation = self._quadratic(components)
        constant = components.offsets - 0.5 * (linear * components.means).sum(1)
        return torch.cat((constant[:, None], linear, squares), 1), cancellation


@dataclass(frozen=True)
class TileFeatures:
    """The features of n points, in memory that is used for others after them.

    Attributes
    ----------
    features : Tensor of shape (F, n)
    ones : Tensor of shape (n,)
    coordinates : Tensor of shape (D, n)
    products : list of callable
        Each writes some of the other features.
    """

    features: Tensor
    ones: Tensor
    coordinates: Tensor
    products: Operations

    @classmethod
    def within(
        cls, features: Tensor, expansion: Expansion, n_features: int
    ) -> TileFeatures:
        """Lay out memory of shape (F, n) for points of D coordinates."""
        return cls(
            features,
            features[0],
            features[1 : 1 + n_features],
            expansion.products(features, n_features),
        )

    def fill(self, points: Tensor) -> None:
        """Make the features of points, (D, n)."""
        self.ones.fill_(1.0)
        self.coordinates.copy_(points)
        for make in self.products:
            make()


class _Products(NamedTuple):
    """Which products of two coordinates are features, in their order.

    Attributes
    ----------
    rows, columns : Tensor of shape (P,), int64
        Of each product in the matrix x x^T.
    coefficients : Tensor of shape (P,)
        What to multiply entries of the precision with.
    of_entries : Tensor of shape (D * D,), int64
        Which of them is each entry of the matrix.
    """

    rows: Tensor
    columns: Tensor
    coefficients: Tensor
    of_entries: Tensor


# From so many coordinates on, so many rows of the matrix x x^T are made at a time:
# the few products that are then there twice cost less than as many calls.
_MANY, _BLOCK = 16, 4


def _blocks(n_features: int) -> list[tuple[int, int]]:
    """Return the bounds of the rows of x x^T that are made together."""
    size = _BLOCK if n_features >= _MANY else 1
    starts = range(0, n_features, size)
    return [(start, min(start + size, n_features)) for start in starts]


@cache
def _products(n_features: int, device: torch.device) -> _Products:
    there = torch.zeros(n_features, n_features, dtype=torch.bool)
    for start, stop in _blocks(n_features):
        there[start:stop, start:] = True
    rows, columns = there.nonzero(as_tuple=True)
    # A product that is there once stands for two entries of the matrix.
    coefficients = torch.where(there[columns, rows], -0.5, -1.0).double()
    of_entries = places_in_matrix(rows, columns, n_features)
    found = rows, columns, coefficients, of_entries
    return _Products(*(part.to(device) for part in found))


class FullExpansion(Expansion):
    """Features 1, x and the upper triangle of x x^T, or a little more of it."""

    def n_features(self, n_features: int) -> int:
        squares = sum((b - a) * (n_features - a) for a, b in _blocks(n_features))
        return 1 + n_features + squares

    def products(self, features: Tensor, n_features: int) -> Operations:
        coordinates, at = features[1 : 1 + n_features], 1 + n_features
        steps: Operations = []
        for start, stop in _blocks(n_features):
            shape = stop - start, n_features - start, features.shape[1]
            out = features[at : at + shape[0] * shape[1]].view(shape)
            left, right = coordinates[start:stop, None], coordinates[None, start:]
            steps.append(partial(torch.mul, left, right, out=out))
            at += shape[0] * shape[1]
        return steps

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor, Tensor]:
        means, factors = components.means[:, :, None], components.factors
        precisions = factors @ factors.mT
        products = _products(len(factors[0]), factors.device)
        linear = precisions @ means
        squares = precisions[:, products.rows, products.columns]
        squares *= products.coefficients
        # Also of a component at the origin: its samples reach as far as it is wide.
        inverses, _ = torch.linalg.inv_ex(factors)
        reach = means.abs() + torch.linalg.vector_norm(inverses, dim=1)[:, :, None]
        cancellation = reach.mT @ precisions.abs_() @ reach
        return linear[:, :, 0], squares, cancellation[:, 0, 0]

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        products = _products(n_features, sums.device)
        entries = sums.index_select(1, products.of_entries)
        return entries.view(-1, n_features, n_features)

    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        half = first - 0.5 * mass[:, None] * means
        both = torch.stack((means, half), 2), torch.stack((half, means), 1)
        return torch.baddbmm(second, *both, alpha=-1)


class DiagonalExpansion(Expansion):
    """Features 1, x and x^2."""

    def n_features(self, n_features: int) -> int:
        return 1 + 2 * n_features

    def products(self, features: Tensor, n_features: int) -> Operations:
        coordinates, squares = features[1:].split(n_features)
        return [partial(torch.mul, coordinates, coordinates, out=squares)]

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor, Tensor]:
        means, precisions = components.means, components.factors**2
        linear = precisions * means
        return linear, -0.5 * precisions, (linear * means).sum(1)

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        return sums

    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        return second - means * (2.0 * first - mass[:, None] * means)


class SphericalExpansion(Expansion):
    """Features 1, x and the squared norm of x."""

    def n_features(self, n_features: int) -> int:
        return 2 + n_features

    def products(self, features: Tensor, n_features: int) -> Operations:
        coordinates = features[1:-1]
        squares = torch.empty_like(coordinates)
        return [
            partial(torch.mul, coordinates, coordinates, out=squares),
            partial(torch.sum, squares, 0, out=features[-1]),
        ]

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor, Tensor]:
        means, precisions = components.means, components.factors[:, None] ** 2
        linear = precisions * means
        return linear, -0.5 * precisions, (linear * means).sum(1)

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        return sums[:, 0]

    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        return second - (means * (2.0 * first - mass[:, None] * means)).sum(1)
