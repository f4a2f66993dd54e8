"""Quadratic forms as products of matrices.

``-0.5 ||A^T (x - m)||^2`` is linear in the features ``[1, x, x x^T]`` of a point,
so one product of matrices gives it for all pairs of a tile, and another gives the
moments. It is the fastest form, and it cancels: its rounding error is that of its
largest terms, those of ``m^T A A^T m`` with m measured from the origin of the frame.
`cancellation` returns their sum, by which tiles choose this form or the direct one.

Arrays are component-major, features (F, n) and logits (M, n), so that the long
axis of samples is contiguous.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_keops_gmm._parameters import Components

Recipe = list[Callable[[], Tensor]]


class Expansion(ABC):
    """Features of points, coefficients of components, and moments back."""

    @abstractmethod
    def n_features(self, n_features: int) -> int:
        """Count the features F of a point with that many coordinates."""

    @abstractmethod
    def products(self, features: Tensor, n_features: int) -> Recipe:
        """Return how to make features (F, n) of the D coordinates among them."""

    def recipe(
        self, features: Tensor, n_features: int
    ) -> tuple[Tensor, Tensor, Recipe]:
        """Return where ones and coordinates go in features (F, n), and what follows.

        To make it takes as long as to follow it: it is for many tiles.
        """
        rows = features[0], features[1 : 1 + n_features]
        return *rows, self.products(features, n_features)

    @abstractmethod
    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor]:
        """Return precision times means, (M, D), and coefficients of the squares."""

    @abstractmethod
    def second(self, sums: Tensor, n_features: int) -> Tensor:
        """Return the second moments about the origin from sums of squares."""

    @abstractmethod
    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        """Move second moments from the origin to `means`."""

    def coefficients(self, components: Components) -> Tensor:
        """Return (M, F) coefficients: their product with features is log p_ij."""
        linear, squares = self._quadratic(components)
        constant = components.offsets - 0.5 * (linear * components.means).sum(1)
        return torch.cat((constant[:, None], linear, squares), 1)

    @abstractmethod
    def cancellation(self, components: Components) -> Tensor:
        """Return ``|m_j|^T |A_j A_j^T| |m_j|``, of shape (M,)."""


class _Products(NamedTuple):
    """Which products of two coordinates are features, in their order.

    Attributes
    ----------
    rows, columns : Tensor of shape (P,), int64
        Of each product in the matrix x x^T.
    upper : Tensor of shape (P,), bool
        Whether that is in the upper triangle.
    coefficients : Tensor of shape (P,)
        What to multiply entries of the precision with.
    """

    rows: Tensor
    columns: Tensor
    upper: Tensor
    coefficients: Tensor


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
    found = rows, columns, rows <= columns, coefficients
    return _Products(*(part.to(device) for part in found))


class _FullExpansion(Expansion):
    """Features 1, x and the upper triangle of x x^T, or a little more of it."""

    def n_features(self, n_features: int) -> int:
        squares = sum((b - a) * (n_features - a) for a, b in _blocks(n_features))
        return 1 + n_features + squares

    def products(self, features: Tensor, n_features: int) -> Recipe:
        coordinates, at = features[1 : 1 + n_features], 1 + n_features
        recipe: Recipe = []
        for start, stop in _blocks(n_features):
            shape = stop - start, n_features - start, features.shape[1]
            out = features[at : at + shape[0] * shape[1]].view(shape)
            left, right = coordinates[start:stop, None], coordinates[None, start:]
            recipe.append(partial(torch.mul, left, right, out=out))
            at += shape[0] * shape[1]
        return recipe

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor]:
        factors = components.factors
        precisions = factors @ factors.mT
        products = _products(precisions.shape[-1], precisions.device)
        linear = (precisions @ components.means[:, :, None])[:, :, 0]
        squares = precisions[:, products.rows, products.columns]
        return linear, squares * products.coefficients

    def cancellation(self, components: Components) -> Tensor:
        factors, sizes = components.factors, components.means.abs()
        precisions = (factors @ factors.mT).abs()
        return ((precisions @ sizes[:, :, None])[:, :, 0] * sizes).sum(1)

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        products = _products(n_features, sums.device)
        rows, columns = products.rows[products.upper], products.columns[products.upper]
        upper = sums[:, products.upper]
        full = sums.new_empty(len(sums), n_features, n_features)
        full[:, rows, columns] = upper
        full[:, columns, rows] = upper
        return full

    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        cross = means[:, :, None] * (first - 0.5 * mass[:, None] * means)[:, None, :]
        return second - cross - cross.mT


class _DiagonalExpansion(Expansion):
    """Features 1, x and x^2."""

    def n_features(self, n_features: int) -> int:
        return 1 + 2 * n_features

    def products(self, features: Tensor, n_features: int) -> Recipe:
        coordinates, squares = features[1:].split(n_features)
        return [partial(torch.mul, coordinates, coordinates, out=squares)]

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor]:
        precisions = components.factors**2
        return precisions * components.means, -0.5 * precisions

    def cancellation(self, components: Components) -> Tensor:
        return (components.factors * components.means).square().sum(1)

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        return sums

    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        return second - means * (2.0 * first - mass[:, None] * means)


class _SphericalExpansion(Expansion):
    """Features 1, x and the squared norm of x."""

    def n_features(self, n_features: int) -> int:
        return 2 + n_features

    def products(self, features: Tensor, n_features: int) -> Recipe:
        coordinates = features[1:-1]
        squares = torch.empty_like(coordinates)
        return [
            partial(torch.mul, coordinates, coordinates, out=squares),
            partial(torch.sum, squares, 0, out=features[-1]),
        ]

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor]:
        precisions = components.factors[:, None] ** 2
        return precisions * components.means, -0.5 * precisions

    def cancellation(self, components: Components) -> Tensor:
        return (components.factors[:, None] * components.means).square().sum(1)

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        return sums[:, 0]

    def recentre(
        self, second: Tensor, mass: Tensor, means: Tensor, first: Tensor
    ) -> Tensor:
        return second - (means * (2.0 * first - mass[:, None] * means)).sum(1)


EXPANSIONS: dict[str, Expansion] = {
    "full": _FullExpansion(),
    "diag": _DiagonalExpansion(),
    "spherical": _SphericalExpansion(),
}
