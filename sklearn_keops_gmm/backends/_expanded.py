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

import torch
from torch import Tensor

from sklearn_keops_gmm._parameters import Components


class Expansion(ABC):
    """Features of points, coefficients of components, and moments back."""

    @abstractmethod
    def n_features(self, n_features: int) -> int:
        """Count the features F of a point with that many coordinates."""

    @abstractmethod
    def features(self, points: Tensor) -> Tensor:
        """Return (F, n) features of (n, D) points."""

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


def _triangle(n_features: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = torch.triu_indices(n_features, n_features, device=device)
    return rows, columns


class _FullExpansion(Expansion):
    """Features 1, x and the upper triangle of x x^T."""

    def n_features(self, n_features: int) -> int:
        return 1 + n_features + n_features * (n_features + 1) // 2

    def features(self, points: Tensor) -> Tensor:
        n, n_features = points.shape
        out = points.new_empty(self.n_features(n_features), n)
        out[0] = 1.0
        coordinates = out[1 : 1 + n_features]
        coordinates.copy_(points.mT)
        start = 1 + n_features
        for d in range(n_features):
            stop = start + n_features - d
            torch.mul(coordinates[d:], coordinates[d], out=out[start:stop])
            start = stop
        return out

    def _quadratic(self, components: Components) -> tuple[Tensor, Tensor]:
        factors = components.factors
        precisions = factors @ factors.mT
        rows, columns = _triangle(precisions.shape[-1], precisions.device)
        # A product of different coordinates stands for two entries of the matrix.
        twice = torch.where(rows == columns, -0.5, -1.0)
        linear = (precisions @ components.means[:, :, None])[:, :, 0]
        return linear, precisions[:, rows, columns] * twice

    def cancellation(self, components: Components) -> Tensor:
        factors, sizes = components.factors, components.means.abs()
        precisions = (factors @ factors.mT).abs()
        return ((precisions @ sizes[:, :, None])[:, :, 0] * sizes).sum(1)

    def second(self, sums: Tensor, n_features: int) -> Tensor:
        rows, columns = _triangle(n_features, sums.device)
        full = sums.new_empty(len(sums), n_features, n_features)
        full[:, rows, columns] = sums
        full[:, columns, rows] = sums
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

    def features(self, points: Tensor) -> Tensor:
        n, n_features = points.shape
        out = points.new_empty(self.n_features(n_features), n)
        out[0] = 1.0
        coordinates = out[1 : 1 + n_features]
        coordinates.copy_(points.mT)
        torch.mul(coordinates, coordinates, out=out[1 + n_features :])
        return out

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

    def features(self, points: Tensor) -> Tensor:
        n, n_features = points.shape
        out = points.new_empty(self.n_features(n_features), n)
        out[0] = 1.0
        out[1 : 1 + n_features].copy_(points.mT)
        torch.sum(points * points, 1, out=out[-1])
        return out

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
