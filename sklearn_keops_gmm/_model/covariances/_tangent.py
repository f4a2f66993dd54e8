"""Steps from a mixture to those around it, in units that it sets itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Steps(ABC):
    """How a covariance structure takes steps, and how much they bend the cost."""

    @abstractmethod
    def displacements(self, factors: Tensor, steps: Tensor) -> Tensor:
        """Return ``inv(A).T @ steps``: moves of means, (M, D), from whitened ones."""

    @abstractmethod
    def whitened(self, factors: Tensor, moves: Tensor) -> Tensor:
        """Return ``A.T @ moves``, (M, D): what `displacements` makes `moves` of."""

    @abstractmethod
    def moved(self, factors: Tensor, steps: Tensor) -> Tensor:
        """Return ``A @ T``, with T = I where all steps are zero, differentiable.

        Parameters
        ----------
        factors : Tensor
            Triangular, as the result then is.
        steps : Tensor of shape (n_parameters,)
            The logarithms of T's diagonal and what T has above it.
        """

    @abstractmethod
    def steps(self, factors: Tensor, others: Tensor) -> Tensor:
        """Return the steps, (n_parameters,), by which `moved` makes the `others`.

        Both are triangular.
        """

    @abstractmethod
    def curvature(self, weights: Tensor, n_features: int) -> Tensor:
        """Return how much steps of `moved` bend the cost, of shape (n_parameters,).

        Second derivatives at zero of minus the mean log-likelihood, if it were
        known which component each sample is from and the covariances were right.
        """

    def _shares(self, weights: Tensor) -> Tensor:
        """Return the weight behind each covariance."""
        return weights


class SharedSteps(Steps):
    """The same for a covariance that all components share."""

    def _shares(self, weights: Tensor) -> Tensor:
        return weights.sum()[None]
