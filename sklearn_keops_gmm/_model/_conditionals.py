"""Components for samples of which some features are missing.

A sample whose features o are observed and m are not has the marginal density of what is
observed (Ghahramani and Jordan, "Supervised learning from incomplete data via an EM
approach", NIPS 6, 1993): of a component with covariance S and precision L that is
N(x_o; mu_o, S_oo), and what is missing follows N(mu_m + B (x_o - mu_o), C) with

    C = inv(L_mm),  B = -C L_mo,  log|S_oo| = log|L_mm| - log|L|.

The matrix with S_oo and L_mm in the places of o and m, and zeros between them, has a
triangular root with such zeros: one factorisation is good for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import Components, Structure

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Conditionals(Protocol):
    """What M components are for P patterns of observed and missing features.

    Differences z, (P, M, n, D), are those of n samples of each pattern to the means,
    and zero where a feature is missing.
    """

    @property
    def offsets(self) -> Tensor:
        """Log-densities of what is observed, at the means, (P, M)."""

    @property
    def peaks(self) -> Tensor:
        """Log-densities of what is missing given the rest, at its mean, (P, M)."""

    def squared_distances(self, z: Tensor) -> Tensor:
        """Return those of what is observed in units of its widths, (P, M, n)."""

    def completed(self, z: Tensor) -> Tensor:
        """Return differences with the conditional mean of what is missing."""

    def second(self, completed: Tensor, shares: Tensor) -> Tensor:
        """Return the expected second moments, in the structure's shape.

        Parameters
        ----------
        completed : Tensor of shape (P, M, n, D)
        shares : Tensor of shape (P, M, n)
            By which each sample counts for each component.
        """

    def drawn(self, normal: Tensor) -> Tensor:
        """Return draws of what is missing about its conditional mean.

        Parameters
        ----------
        normal : Tensor of shape (P, M, n, D)
            Standard normal numbers.
        """

    def marginal_factors(self, features: Tensor) -> Tensor:
        """Return the factors of what a single pattern has.

        Parameters
        ----------
        features : Tensor of shape (F,), int64
            Those that are observed.
        """


@dataclass(frozen=True)
class MatrixConditionals:
    """Those of components whose covariances are matrices, one for each or one for all.

    Attributes
    ----------
    offsets, peaks : Tensor of shape (P, M)
    whitening : Tensor of shape (P, M or 1, D, D)
        The inverse of the triangular root.
    completing : Tensor of shape (P, M or 1, D, D)
        The identity for what is observed, and B.
    missing : Tensor of shape (P, 1, 1, D)
        One where a feature is missing, zero elsewhere.
    """

    offsets: Tensor
    peaks: Tensor
    whitening: Tensor
    completing: Tensor
    missing: Tensor

    @classmethod
    def of(cls, components: Components, observed: Tensor) -> MatrixConditionals:
        """Return those for patterns `observed`, (P, D) bool."""
        n_features = observed.shape[1]
        factors = components.factors.reshape(-1, n_features, n_features)
        inverse = torch.linalg.inv(factors)
        covariances, precisions = inverse.mT @ inverse, factors @ factors.mT
        rows, columns = observed[:, None, :, None], observed[:, None, None, :]
        joint = torch.where(rows & columns, covariances, 0.0)
        joint = torch.where(rows | columns, joint, precisions)
        lower, failed = torch.linalg.cholesky_ex(joint)
        lower = lower.masked_fill((failed != 0)[..., None, None], torch.nan)
        identity = torch.eye(n_features, dtype=lower.dtype, device=lower.device)
        whitening = torch.linalg.solve_triangular(
            lower, identity.expand_as(lower), upper=False
        )
        missing = (~observed).to(lower)[:, None, :]  # (P, 1, D)
        widths = torch.diagonal(lower, dim1=-2, dim2=-1)
        peaks = ((widths.log() - _HALF_LOG_TAU) * missing).sum(-1)
        unseen = whitening * missing[..., None, :]
        slopes = (unseen.mT @ unseen) @ precisions
        completing = torch.where(columns, identity - slopes, 0.0)
        peaks = peaks.expand(len(observed), len(components.offsets))
        return cls(
            components.offsets - peaks, peaks, whitening, completing, missing[:, None]
        )

    def squared_distances(self, z: Tensor) -> Tensor:
        return (z @ self.whitening.mT).square().sum(-1)

    def completed(self, z: Tensor) -> Tensor:
        return z @ self.completing.mT

    def drawn(self, normal: Tensor) -> Tensor:
        return (normal * self.missing) @ (self.whitening * self.missing)

    def marginal_factors(self, features: Tensor) -> Tensor:
        return self.whitening[0][:, features[:, None], features].mT

    def second(self, completed: Tensor, shares: Tensor) -> Tensor:
        weighted = completed * shares[..., None]
        own = _of_components(weighted).mT @ _of_components(completed)
        unseen = self.whitening * self.missing
        roots = unseen * shares.sum(-1).sqrt()[..., None, None]
        return own + _of_components(roots).mT @ _of_components(roots)


class SharedMatrixConditionals(MatrixConditionals):
    """Those of components that share one covariance matrix."""

    def marginal_factors(self, features: Tensor) -> Tensor:
        return super().marginal_factors(features)[0]

    def second(self, completed: Tensor, shares: Tensor) -> Tensor:
        weighted = (completed * shares[..., None]).flatten(0, 2)
        own = weighted.mT @ completed.flatten(0, 2)
        roots = self.whitening * self.missing
        roots = roots * shares.sum((1, 2)).sqrt()[:, None, None, None]
        roots = roots.flatten(0, 2)
        return own + roots.mT @ roots


@dataclass(frozen=True)
class DiagonalConditionals:
    """Those of components whose features are independent.

    Attributes
    ----------
    offsets, peaks : Tensor of shape (P, M)
    factors : Tensor of shape (M, D or 1)
        Inverse widths.
    missing : Tensor of shape (P, D)
        One where a feature is missing, zero elsewhere.
    """

    offsets: Tensor
    peaks: Tensor
    factors: Tensor
    missing: Tensor

    @classmethod
    def of(cls, components: Components, observed: Tensor) -> DiagonalConditionals:
        """Return those for patterns `observed`, (P, D) bool."""
        factors = components.factors.reshape(len(components.offsets), -1)
        missing = (~observed).to(factors)
        terms = factors.abs().log() - _HALF_LOG_TAU
        peaks = missing @ terms.expand(-1, observed.shape[1]).mT
        return cls(components.offsets - peaks, peaks, factors, missing)

    def squared_distances(self, z: Tensor) -> Tensor:
        return (z * self.factors[:, None]).square().sum(-1)

    def completed(self, z: Tensor) -> Tensor:
        return z

    def drawn(self, normal: Tensor) -> Tensor:
        return normal * self.missing[:, None, None] / self.factors[:, None]

    def marginal_factors(self, features: Tensor) -> Tensor:
        return self.factors[:, features]

    def second(self, completed: Tensor, shares: Tensor) -> Tensor:
        own = (shares[..., None] * completed.square()).sum((0, 2))
        return own + shares.sum(-1).mT @ self.missing / self.factors.square()


class SphericalConditionals(DiagonalConditionals):
    """Those of components as wide in all directions."""

    def marginal_factors(self, features: Tensor) -> Tensor:
        return self.factors[:, 0]

    def second(self, completed: Tensor, shares: Tensor) -> Tensor:
        return super().second(completed, shares).sum(1)


CONDITIONALS: dict[Structure, type[MatrixConditionals] | type[DiagonalConditionals]] = {
    "full": MatrixConditionals,
    "tied": SharedMatrixConditionals,
    "diag": DiagonalConditionals,
    "spherical": SphericalConditionals,
}


def conditionals_of(components: Components, observed: Tensor) -> Conditionals:
    """Return what components are for patterns of `observed` features, (P, D) bool.

    Raises
    ------
    ValueError
        If this is not known for their structure.
    """
    if components.structure not in CONDITIONALS:
        known = ", ".join(map(repr, CONDITIONALS))
        raise ValueError(
            "X has missing values, which covariances of structure "
            f"{components.structure!r} cannot be fitted to; able are {known}. Leave "
            "out the rows that have some, or fill them."
        )
    return CONDITIONALS[components.structure].of(components, observed)


def _of_components(array: Tensor) -> Tensor:
    """Return (P, M, n, D) rows as those of each component, (M, P n, D)."""
    return array.transpose(0, 1).flatten(1, 2)
