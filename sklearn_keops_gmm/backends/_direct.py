"""Quadratic forms from differences: slow, and right to the last digits.

For components so narrow or so far from the origin of the frame that the expanded
form would cancel. Arrays are component-major: differences (M, D, n), logits (M, n).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from sklearn_keops_gmm._parameters import Components


class Direct(ABC):
    """Whitened differences and their second moments."""

    @abstractmethod
    def _whiten(self, factors: Tensor, differences: Tensor) -> Tensor:
        """Return ``A_j^T (x_i - m_j)``, (M, D, n)."""

    @abstractmethod
    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        """Return second moments from differences, one factor of them weighted."""

    def logits(self, components: Components, points: Tensor) -> Tensor:
        """Return log p_ij, (M, n), of (n, D) points."""
        differences = points.mT - components.means[:, :, None]  # (M, D, n)
        whitened = self._whiten(components.factors, differences)
        return components.offsets[:, None] - 0.5 * whitened.square_().sum(1)

    def moments(
        self, components: Components, points: Tensor, responsibilities: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mass, first and second moments about the means."""
        differences = points.mT - components.means[:, :, None]  # (M, D, n)
        weighted = differences * responsibilities[:, None, :]
        second = self.second(weighted, differences)
        return responsibilities.sum(1), weighted.sum(2), second


class _FullDirect(Direct):
    def _whiten(self, factors: Tensor, differences: Tensor) -> Tensor:
        return factors.mT @ differences

    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        return weighted @ differences.mT


class _DiagonalDirect(Direct):
    def _whiten(self, factors: Tensor, differences: Tensor) -> Tensor:
        return factors[:, :, None] * differences

    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        return (weighted * differences).sum(2)


class _SphericalDirect(Direct):
    def _whiten(self, factors: Tensor, differences: Tensor) -> Tensor:
        return factors[:, None, None] * differences

    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        return (weighted * differences).sum((1, 2))


DIRECT: dict[str, Direct] = {
    "full": _FullDirect(),
    "diag": _DiagonalDirect(),
    "spherical": _SphericalDirect(),
}
