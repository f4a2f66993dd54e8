"""Covariances that are matrices: full and tied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
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

# So many units in the last place of a variance are left of it where features are
# collinear.
_ROUNDINGS = 16.0
# Numbers in outer products from which the product of a group takes less time to start.
_WORTH_A_PRODUCT = 2**13
# So many identity matrices are kept: every step takes one.
_MOST_IDENTITIES = 4


class _MatrixCovariance(CovarianceStructure):
    """Matrices, one per component or one for all: batched linear algebra."""

    definite = "symmetric, positive-definite"

    def n_free_features(self, n_features: int, n_varying: int, n_dependent: int) -> int:
        # Along the other directions all covariances are the same.
        return n_varying - n_dependent

    def are_definite(self, arrays: np.ndarray) -> np.ndarray:
        symmetric = np.isclose(arrays, np.swapaxes(arrays, -1, -2)).all((-1, -2))
        positive = np.all(np.linalg.eigvalsh(arrays) > 0.0, axis=-1)
        return np.asarray(symmetric & positive)

    def factors(self, covariances: Tensor) -> Tensor:
        lower, info = torch.linalg.cholesky_ex(covariances)
        # Entries are roots of numbers: the sum of finite ones is finite.
        if bool(info.any()) or not math.isfinite(lower.sum().item()):
            raise ValueError(ILL_DEFINED)
        identity = _identity(lower.shape[-1], lower.dtype, lower.device)
        return torch.linalg.solve_triangular(lower, identity, upper=False).mT

    def factors_of_precisions(self, precisions: Tensor) -> Tensor:
        # The Cholesky factor of the matrix read backwards, read backwards.
        flipped = torch.linalg.cholesky(precisions.flip(-1, -2))
        return flipped.flip(-1, -2)

    def triangular(self, factors: Tensor) -> Tensor:
        # An RQ decomposition: the rotation Q drops out of A @ A.T.
        upper = torch.linalg.qr(factors.flip(-2).mT).R
        triangle = upper.mT.flip(-1, -2)
        signs = torch.sign(torch.diagonal(triangle, dim1=-2, dim2=-1))
        return triangle * signs[..., None, :]

    def precisions(self, factors: Tensor) -> Tensor:
        return factors @ factors.mT

    def covariances(self, factors: Tensor) -> Tensor:
        inverse = _inverse(factors)
        return inverse.mT @ inverse

    def longest_axis(self, covariance: Tensor, spreads: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance / spreads.outer(spreads))
        # Of the two directions one is taken, whatever rounding does.
        sizes = vectors[:, -1].abs()
        first = (sizes >= EQUAL * sizes.max()).nonzero()[0]
        return values[-1].sqrt() * vectors[:, -1] * vectors[first, -1].sign() * spreads

    def matrices(self, covariances: Tensor, means: Tensor) -> Tensor:
        n_components, n_features = means.shape
        return covariances.expand(n_components, n_features, n_features)

    def roots(self, factors: Tensor, means: Tensor) -> Tensor:
        return self.matrices(_inverse(factors).mT, means)

    def upper(self, factors: Tensor) -> Tensor:
        return self.triangular(factors) if factors.tril(-1).any() else factors

    def log_det(self, factors: Tensor, n_features: int) -> Tensor:
        if factors.requires_grad or factors.tril(-1).any():
            return torch.linalg.slogdet(factors).logabsdet
        return self.log_det_of_upper(factors, n_features)

    def log_det_of_upper(self, factors: Tensor, n_features: int) -> Tensor:
        return torch.diagonal(factors, dim1=-2, dim2=-1).abs().log().sum(-1)

    def precision_traces(
        self, factors: Tensor, n_features: int, profile: Tensor | None = None
    ) -> Tensor:
        squares = factors * factors
        if profile is not None:
            squares = squares * profile[:, None]
        return squares.sum((-2, -1))

    def variances(self, covariances: Tensor) -> Tensor:
        return torch.diagonal(covariances, dim1=-2, dim2=-1)

    def relative_traces(
        self, factors: Tensor, covariances: Tensor, n_features: int
    ) -> Tensor:
        return (factors * (covariances @ factors)).sum((-2, -1))

    def quadratic_gradient(
        self, factors: Tensor, moments: Moments
    ) -> tuple[Tensor, Tensor]:
        whitened = moments.first[:, None, :] @ factors  # (M, 1, D)
        return (whitened @ factors.mT)[:, 0, :], -(moments.second @ factors)

    def unwhiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        columns = vectors[:, :, None]  # (M, D, 1)
        return torch.linalg.solve_triangular(factors.mT, columns, upper=False)[:, :, 0]

    def retract(self, factors: Tensor, tangent: Tensor) -> Tensor:
        n_features = factors.shape[-1]
        rows, columns = torch.triu_indices(
            n_features, n_features, device=tangent.device
        )
        triangle = tangent.reshape(*factors.shape[:-2], -1)
        entries = torch.where(rows == columns, triangle.exp(), triangle)
        relative = torch.zeros_like(factors)
        relative[..., rows, columns] = entries
        return factors @ relative

    def whiten(self, factors: Tensor, vectors: Tensor) -> Tensor:
        return (factors.mT @ vectors[:, :, None])[:, :, 0]

    def inverse_retract(self, factors: Tensor, others: Tensor) -> Tensor:
        n_features = factors.shape[-1]
        rows, columns = torch.triu_indices(n_features, n_features, device=others.device)
        relative = torch.linalg.solve_triangular(factors, others, upper=True)
        triangle = relative[..., rows, columns]
        return torch.where(rows == columns, triangle.log(), triangle).flatten()

    def fisher_information(self, weights: Tensor, n_features: int) -> Tensor:
        rows, columns = torch.triu_indices(
            n_features, n_features, device=weights.device
        )
        of_one = 1.0 + (rows == columns).to(weights)
        return (self._shares(weights)[:, None] * of_one).flatten()

    def outer(self, points: Tensor) -> Tensor:
        return points[:, :, None] * points[:, None, :]

    def _volumes(self, covariances: Tensor, n_features: int) -> Tensor:
        lower, info = torch.linalg.cholesky_ex(covariances)
        volumes = 2 * torch.diagonal(lower, dim1=-2, dim2=-1).log().sum(-1)
        if not bool(info.any()):
            return volumes
        # What is singular but for rounding has axes as wide as that leaves it.
        roots = torch.diagonal(covariances, dim1=-2, dim2=-1).sqrt()
        correlations = covariances / roots[..., :, None] / roots[..., None, :]
        axes = torch.linalg.eigvalsh(correlations.nan_to_num())
        kept = axes.clamp_min(n_features * torch.finfo(axes.dtype).eps)
        rounded = kept.log().sum(-1) + 2 * roots.log().sum(-1)
        return torch.where(info > 0, rounded, volumes)

    # With the inverse C of A, the covariance is C.T @ C and the precision A @ A.T: to
    # marginalise is to select columns of C, to condition rows of A, and neither matrix
    # is ever formed, which rounding could leave indefinite.

    def marginal(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        upper = torch.linalg.qr(_inverse(factors)[..., features]).R
        return self.triangular(_inverse(upper))

    def conditional(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        return self.triangular(factors[..., features, :])

    def slopes(
        self, factors: Tensor, features: Sequence[int], others: Sequence[int]
    ) -> Tensor:
        # B = -inv(A_f @ A_f.T) @ A_f @ A_o.T, with rows A_f and A_o: least squares.
        basis, upper = torch.linalg.qr(factors[..., features, :].mT)
        products = basis.mT @ factors[..., others, :].mT
        slopes = -torch.linalg.solve_triangular(upper, products, upper=True)
        return slopes.reshape(-1, len(features), len(others))

    def _regularize(self, covariances: Tensor, ridge: Tensor | float) -> Tensor:
        """Add a ridge to the diagonals of scatter that is positive in theory.

        Rounding can leave the scatter of a collapsed component a little
        negative; then the nearest scatter that is not takes its place.
        """
        identity = _identity(
            covariances.shape[-1], covariances.dtype, covariances.device
        )
        # Sums in another basis or about other points are symmetric but for rounding.
        covariances = 0.5 * (covariances + covariances.mT)
        if isinstance(ridge, Tensor):
            least, regularized = float(ridge.min()), covariances + ridge * identity
        else:
            least, regularized = ridge, covariances.add(identity, alpha=ridge)
        if least > 0 and torch.linalg.cholesky_ex(regularized).info.any():
            if not torch.isfinite(covariances).all():
                raise ValueError(ILL_DEFINED)
            values, vectors = torch.linalg.eigh(covariances)
            floored = values.clamp_min(0.0) + least
            nearest = (vectors * floored[..., None, :]) @ vectors.mT
            regularized = nearest + (ridge - least) * identity
        return regularized

    def _resolved(self, covariances: Tensor, noise: Tensor) -> Tensor:
        # Squares of the factor's diagonal are variances given the features before.
        lower = torch.linalg.cholesky_ex(covariances).L
        given = torch.diagonal(lower, dim1=-2, dim2=-1) ** 2
        variances = torch.diagonal(covariances, dim1=-2, dim2=-1)
        rounding = _ROUNDINGS * torch.finfo(given.dtype).eps * variances
        least = rounding + torch.diagonal(noise, dim1=-2, dim2=-1)
        resolved = (given > least).all(-1)[..., None, None]
        return torch.where(resolved, covariances, 0.0)

    def _roots(self, covariances: np.ndarray) -> np.ndarray:
        # That which RandomState.multivariate_normal takes.
        _, variances, axes = np.linalg.svd(covariances)
        roots: np.ndarray = np.sqrt(variances)[:, :, None] * axes
        return roots

    def _colour(self, normal: np.ndarray, root: np.ndarray) -> None:
        normal[:] = normal @ root


class FullCovariance(_MatrixCovariance):
    """Each component has its own matrix, (M, D, D)."""

    name = "full"
    structure: ClassVar[Structure] = "full"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features, n_features

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features * (n_features + 1) // 2

    def mass_floor_second(self, means: Tensor, mass: Tensor) -> float:
        # Here scikit-learn's mass floor moves the mean only.
        return 0.0

    def scatter(self, points: Tensor, labels: Tensor, n_groups: int) -> Tensor:
        n_points, n_features = points.shape
        if n_points * n_features**2 < _WORTH_A_PRODUCT * n_groups:
            return super().scatter(points, labels, n_groups)
        counts = torch.bincount(labels, minlength=n_groups).tolist()
        sums = points.new_zeros(n_groups, n_features, n_features)
        groups = points[labels.argsort()].split(counts)
        for own, group in zip(sums, groups, strict=True):
            if len(group):
                torch.mm(group.mT, group, out=own)
        return sums

    def _cross(self, a: Tensor, b: Tensor) -> Tensor:
        product = a[:, :, None] * b[:, None, :]
        return product + product.mT

    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        return self._regularize(second / mass[:, None, None], ridge)


class TiedCovariance(SharedCovariance, _MatrixCovariance):
    """All components share one matrix, (D, D)."""

    name = "tied"
    structure: ClassVar[Structure] = "tied"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_features, n_features

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    def select_second(self, second: Tensor, alive: Tensor) -> Tensor:
        return second

    def merge_second(
        self, second: Tensor, add_up: Callable[[Tensor], Tensor]
    ) -> Tensor:
        return second

    def pool(self, second: Tensor) -> Tensor:
        return second.sum(0)

    def scatter(self, points: Tensor, labels: Tensor, n_groups: int) -> Tensor:
        return points.mT @ points

    def one_sample_second(
        self,
        points: Tensor,
        means: Tensor,
        mass: Tensor,
        of_all: Callable[[], Tensor],
    ) -> Tensor:
        # In scikit-learn the covariance is that of all the data.
        return of_all() - (mass[:, None] * means).mT @ means

    def _cross(self, a: Tensor, b: Tensor) -> Tensor:
        product = a.mT @ b
        return product + product.mT

    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        return self._regularize(second / mass.sum(), ridge)


def _inverse(factors: Tensor) -> Tensor:
    """Return the inverses of upper-triangular `factors`."""
    identity = _identity(factors.shape[-1], factors.dtype, factors.device)
    return torch.linalg.solve_triangular(factors, identity, upper=True)


@lru_cache(_MOST_IDENTITIES)
def _identity(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity matrix, which is only read."""
    return torch.eye(n, dtype=dtype, device=device)
