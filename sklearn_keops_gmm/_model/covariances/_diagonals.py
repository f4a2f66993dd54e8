"""Covariances that are positive numbers: diagonal and spherical, own or shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import Moments, Structure
from sklearn_keops_gmm._model.covariances._base import (
    EQUAL,
    ILL_DEFINED,
    CovarianceStructure,
    SharedCovariance,
)


class _ScaleCovariance(CovarianceStructure):
    """Positive numbers instead of matrices: elementwise algebra."""

    def are_definite(self, arrays: np.ndarray) -> np.ndarray:
        return np.all(arrays.reshape(len(arrays), -1) > 0.0, axis=1)

    def factors(self, covariances: Tensor) -> Tensor:
        if not bool((covariances > 0).all()):
            raise ValueError(ILL_DEFINED)
        return covariances.rsqrt()

    def factors_of_precisions(self, precisions: Tensor) -> Tensor:
        return precisions.sqrt()

    def triangular(self, factors: Tensor) -> Tensor:
        return factors.abs()

    def precisions(self, factors: Tensor) -> Tensor:
        return factors * factors

    def covariances(self, factors: Tensor) -> Tensor:
        return 1.0 / (factors * factors)

    def _resolved(self, covariances: Tensor, noise: Tensor) -> Tensor:
        return torch.where(covariances > noise, covariances, 0.0)

    def roots(self, factors: Tensor, means: Tensor) -> Tensor:
        return self.matrices(1.0 / factors, means)

    def retract(self, factors: Tensor, tangent: Tensor) -> Tensor:
        return factors * tangent.exp().reshape(factors.shape)

    def inverse_retract(self, factors: Tensor, others: Tensor) -> Tensor:
        return (others / factors).log().flatten()

    # Features are independent within a component: given others, they are as alone.

    def conditional(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        return self.marginal(factors, features)

    def slopes(
        self, factors: Tensor, features: Sequence[int], others: Sequence[int]
    ) -> Tensor:
        return factors.new_zeros(1, len(features), len(others))

    def _roots(self, covariances: np.ndarray) -> np.ndarray:
        roots: np.ndarray = np.sqrt(covariances)
        return roots

    def _colour(self, normal: np.ndarray, root: np.ndarray) -> None:
        normal *= root


class DiagonalCovariance(_ScaleCovariance):
    """Each component has its own diagonal, (M, D)."""

    name = "diag"
    structure: ClassVar[Structure] = "diag"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def n_free_features(self, n_features: int, n_varying: int, n_dependent: int) -> int:
        return n_varying

    def longest_axis(self, covariance: Tensor, spreads: Tensor) -> Tensor:
        widths = covariance.sqrt() / spreads
        # Those of a component that is alone are equal: along all, which favours none.
        longest = widths >= EQUAL * widths.max()
        return torch.where(longest, (covariance / longest.sum()).sqrt(), 0.0)

    def marginal(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        return factors[..., features]

    def matrices(self, covariances: Tensor, means: Tensor) -> Tensor:
        return torch.diag_embed(covariances.expand_as(means))

    def log_det(self, factors: Tensor, n_features: int) -> Tensor:
        return factors.abs().log().sum(1)

    def precision_traces(
        self, factors: Tensor, n_features: int, profile: Tensor | None = None
    ) -> Tensor:
        squares = factors * factors
        return (squares if profile is None else squares * profile).sum(-1)

    def variances(self, covariances: Tensor) -> Tensor:
        return covariances

    def relative_traces(
        self, factors: Tensor, covariances: Tensor, n_features: int
    ) -> Tensor:
        return (factors * factors * covariances).sum(-1)

    def quadratic_gradient(
        self, factors: Tensor, moments: Moments
    ) -> tuple[Tensor, Tensor]:
        return factors * factors * moments.first, -factors * moments.second

    def unwhiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        return vectors / factors

    def whiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        return vectors * factors

    def fisher_information(self, weights: Tensor, n_features: int) -> Tensor:
        return 2.0 * self._shares(weights).repeat_interleave(n_features)

    def outer(self, points: Tensor) -> Tensor:
        return points * points

    def _volumes(self, covariances: Tensor, n_features: int) -> Tensor:
        return covariances.log().sum(-1)

    def one_sample_second(
        self,
        points: Tensor,
        means: Tensor,
        mass: Tensor,
        of_all: Callable[[], Tensor],
    ) -> Tensor:
        return _one_sample_squares(points, means, mass)

    def _cross(self, a: Tensor, b: Tensor) -> Tensor:
        return 2 * a * b

    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        return second.clamp_min(0.0) / mass[:, None] + ridge


class SphericalCovariance(_ScaleCovariance):
    """Each component has one variance, (M,)."""

    name = "spherical"
    structure: ClassVar[Structure] = "spherical"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components

    def longest_axis(self, covariance: Tensor, spreads: Tensor) -> Tensor:
        # All axes are as long: one that favours no feature.
        return (covariance / len(spreads)).sqrt() * torch.ones_like(spreads)

    def marginal(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        return factors

    def matrices(self, covariances: Tensor, means: Tensor) -> Tensor:
        return torch.diag_embed(covariances[:, None].expand_as(means))

    def log_det(self, factors: Tensor, n_features: int) -> Tensor:
        return n_features * factors.abs().log()

    def precision_traces(
        self, factors: Tensor, n_features: int, profile: Tensor | None = None
    ) -> Tensor:
        whole = n_features if profile is None else profile.sum()
        return whole * factors * factors

    def variances(self, covariances: Tensor) -> Tensor:
        return covariances[:, None]

    def relative_traces(
        self, factors: Tensor, covariances: Tensor, n_features: int
    ) -> Tensor:
        return n_features * factors * factors * covariances

    def quadratic_gradient(
        self, factors: Tensor, moments: Moments
    ) -> tuple[Tensor, Tensor]:
        means_gradient = (factors * factors)[:, None] * moments.first
        return means_gradient, -factors * moments.second

    def unwhiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        return vectors / factors[:, None]

    def whiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        return vectors * factors[:, None]

    def fisher_information(self, weights: Tensor, n_features: int) -> Tensor:
        return 2.0 * n_features * self._shares(weights)

    def outer(self, points: Tensor) -> Tensor:
        return (points * points).sum(1)

    def spread(self, vectors: Tensor) -> Tensor:
        return self.outer(vectors) / vectors.shape[1]

    def _volumes(self, covariances: Tensor, n_features: int) -> Tensor:
        return n_features * covariances.log()

    def one_sample_second(
        self,
        points: Tensor,
        means: Tensor,
        mass: Tensor,
        of_all: Callable[[], Tensor],
    ) -> Tensor:
        return _one_sample_squares(points, means, mass).sum(1)

    def _cross(self, a: Tensor, b: Tensor) -> Tensor:
        return 2 * (a * b).sum(1)

    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        return second.clamp_min(0.0) / (n_features * mass) + _mean(ridge)


class TiedDiagonalCovariance(SharedCovariance, DiagonalCovariance):
    """All components share one diagonal, (D,)."""

    name = "tied_diag"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_features,)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_features

    def expand(self, factors: Tensor, n_components: int) -> Tensor:
        return factors.expand(n_components, -1)

    def log_det(self, factors: Tensor, n_features: int) -> Tensor:
        return factors.abs().log().sum()

    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        return second.sum(0).clamp_min(0.0) / mass.sum() + ridge


class TiedSphericalCovariance(SharedCovariance, SphericalCovariance):
    """All components share one variance, (1,)."""

    name = "tied_spherical"

    def of_one(self, covariances: Tensor, j: int) -> Tensor:
        return covariances[0]

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (1,)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return 1

    def expand(self, factors: Tensor, n_components: int) -> Tensor:
        return factors.expand(n_components)

    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        pooled = second.sum(0, keepdim=True).clamp_min(0.0)
        return pooled / (n_features * mass.sum()) + _mean(ridge)


def _mean(ridge: Tensor | float) -> Tensor | float:
    """Return what a ridge adds to the mean variance."""
    return ridge.mean() if isinstance(ridge, Tensor) else ridge


def _one_sample_squares(points: Tensor, means: Tensor, mass: Tensor) -> Tensor:
    """Return scikit-learn's squares about the means of components of one sample."""
    # Divided, then multiplied: the differences are rounding noise that counts.
    mass = mass[:, None]
    return (points * points / mass - means * means) * mass
