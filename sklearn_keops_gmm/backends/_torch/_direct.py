"""Quadratic forms from differences: slow, and right to the last digits.

For components so narrow or so far from the origin of the frame that the expanded form
would suffer catastrophic cancellation. Arrays are component-major: differences
(M, D, n), logits (M, n).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components
from sklearn_keops_gmm.backends._workspace import Workspace


class Direct(ABC):
    """Whitened differences and their second moments."""

    @abstractmethod
    def whiten(self, factors: Tensor, differences: Tensor, out: Tensor) -> Tensor:
        """Write ``A_j^T (x_i - m_j)``, (M, D, n), into `out`."""

    @abstractmethod
    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        """Return second moments from differences, one factor of them weighted."""

    def norms(self, factors: Tensor, n_features: int) -> Tensor:
        """Return the Frobenius norm of each factor, (M,)."""
        return torch.linalg.vector_norm(factors.reshape(len(factors), -1), dim=1)

    def logits(
        self, components: Components, points: Tensor, workspace: Workspace
    ) -> Tensor:
        """Return log p_ij, (M, n), of (D, n) points."""
        differences, out = _arrays(components, points, workspace)
        whitened = self.whiten(components.factors, differences, out)
        return components.offsets[:, None] - 0.5 * whitened.square_().sum(1)

    def moments(
        self,
        components: Components,
        points: Tensor,
        responsibilities: Tensor,
        workspace: Workspace,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mass, first and second moments about the means."""
        differences, out = _arrays(components, points, workspace)
        weighted = torch.mul(differences, responsibilities[:, None, :], out=out)
        second = self.second(weighted, differences)
        return responsibilities.sum(1), weighted.sum(2), second


def _arrays(
    components: Components, points: Tensor, workspace: Workspace
) -> tuple[Tensor, Tensor]:
    """Return x_i - m_j, (M, D, n), and memory for another such array."""
    n_components, n_features = components.means.shape
    differences, out = (
        workspace.array(name, n_components * n_features, points.shape[1]).view(
            n_components, n_features, -1
        )
        for name in ("differences", "of differences")
    )
    torch.sub(points, components.means[:, :, None], out=differences)
    return differences, out


class FullDirect(Direct):
    def whiten(self, factors: Tensor, differences: Tensor, out: Tensor) -> Tensor:
        return torch.matmul(factors.mT, differences, out=out)

    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        return weighted @ differences.mT


class DiagonalDirect(Direct):
    def whiten(self, factors: Tensor, differences: Tensor, out: Tensor) -> Tensor:
        return torch.mul(factors[:, :, None], differences, out=out)

    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        return (weighted * differences).sum(2)


class SphericalDirect(Direct):
    def norms(self, factors: Tensor, n_features: int) -> Tensor:
        return factors.abs() * math.sqrt(n_features)

    def whiten(self, factors: Tensor, differences: Tensor, out: Tensor) -> Tensor:
        return torch.mul(factors[:, None, None], differences, out=out)

    def second(self, weighted: Tensor, differences: Tensor) -> Tensor:
        return (weighted * differences).sum((1, 2))
