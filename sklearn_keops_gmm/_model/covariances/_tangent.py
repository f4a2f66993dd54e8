"""Means and factors around those of a mixture, in units that it sets itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class TangentSpace(ABC):
    """Whitened coordinates of means, and tangents at precision factors."""

    @abstractmethod
    def whiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        """Return ``A_j.T @ v_j``, (M, D), of one vector for each component."""

    @abstractmethod
    def unwhiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        """Return ``inv(A_j).T @ v_j``, (M, D): the inverse of `whiten`."""

    @abstractmethod
    def retract(self, factors: Tensor, tangent: Tensor) -> Tensor:
        """Return the factors ``A @ T`` at a tangent: A itself at zero. Differentiable.

        Parameters
        ----------
        factors : Tensor
            Triangular, as the result then is.
        tangent : Tensor of shape (n_parameters,)
            The logarithms of T's diagonal and what T has above it.
        """

    @abstractmethod
    def inverse_retract(self, factors: Tensor, others: Tensor) -> Tensor:
        """Return the tangent, (n_parameters,), that `retract` takes to the `others`.

        Both are triangular.
        """

    @abstractmethod
    def fisher_information(self, weights: Tensor, n_features: int) -> Tensor:
        """Return the diagonal of the complete-data Fisher information of a tangent.

        These are the second derivatives at zero, (n_parameters,), of minus the mean
        log-likelihood, if it were known which component each sample is from and the
        covariances were right. All others are zero.
        """

    def _shares(self, weights: Tensor) -> Tensor:
        """Return the weight behind each covariance."""
        return weights


class SharedTangentSpace(TangentSpace):
    """The same for a covariance that all components share."""

    def _shares(self, weights: Tensor) -> Tensor:
        return weights.sum()[None]
