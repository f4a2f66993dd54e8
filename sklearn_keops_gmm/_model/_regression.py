"""Mixtures over fewer features: some alone, and some given the others.

Given the others, each component's mean of a feature is an affine map of them, and
the components are as likely as the others alone make them: a mixture of regressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import MixtureParameters
from sklearn_keops_gmm._model.covariances import CovarianceStructure


def marginal(
    mixture: MixtureParameters, covariance: CovarianceStructure, features: Sequence[int]
) -> MixtureParameters:
    """Return the mixture of `features` alone."""
    factors = covariance.marginal(mixture.precisions_cholesky, features)
    covariances = covariance.covariances(factors)
    means = mixture.means[:, features]
    return replace(
        mixture,
        means=means,
        covariances=covariances,
        precisions_cholesky=factors,
        targets=None,
    )


# Numbers in the maps of the rows treated at once, for caches to hold.
_NUMBERS = 2**18


@dataclass(frozen=True)
class Regression:
    """The distribution of D - F targets as a function of F given features x.

    ``p(y | x) = sum_j g_j(x) N(y; means[j] + slopes[j] @ (x - given.means[j]), S_j)``
    with the responsibilities g_j of `given` for x, and S_j from `factors`.

    Attributes
    ----------
    given : MixtureParameters
        The mixture of the given features alone.
    means : Tensor of shape (M, D - F)
    slopes : Tensor of shape (M or 1, D - F, F)
    factors : Tensor
        Of the precisions of the targets given x, in the structure's shape.
    """

    given: MixtureParameters
    means: Tensor
    slopes: Tensor
    factors: Tensor

    @classmethod
    def of(
        cls,
        mixture: MixtureParameters,
        covariance: CovarianceStructure,
        given: Sequence[int],
        targets: Sequence[int],
    ) -> Regression:
        """Return the regression of the `targets` of a mixture on its `given`."""
        factors = mixture.precisions_cholesky
        return cls(
            marginal(mixture, covariance, given),
            mixture.means[:, targets],
            covariance.slopes(factors, targets, given),
            covariance.conditional(factors, targets),
        )

    def to(self, device: torch.device) -> Regression:
        """Return the same regression on another device."""
        return Regression(
            self.given.to(device),
            self.means.to(device),
            self.slopes.to(device),
            self.factors.to(device),
        )

    def at(
        self, point: Tensor, shares: Tensor, covariance: CovarianceStructure
    ) -> MixtureParameters:
        """Return the mixture of the targets given one `point`, of shape (F,).

        Parameters
        ----------
        point : Tensor of shape (F,)
        shares : Tensor of shape (M,)
            Responsibilities for it; components with none are left out.
        covariance : CovarianceStructure
        """
        alive = shares > 0
        factors = covariance.select(self.factors, alive)
        return MixtureParameters(
            shares[alive] / shares.sum(),
            self._means_at(point)[alive],
            covariance.covariances(factors),
            factors,
        )

    def mean(self, points: Tensor, shares: Tensor) -> Tensor:
        """Return the mean of the targets for each row of `points`.

        Parameters
        ----------
        points : Tensor of shape (n, F)
        shares : Tensor of shape (n, M)
            Responsibilities for them.
        """
        shares = shares / shares.sum(1, keepdim=True)
        centre = self.given.weights @ self.given.means  # (F,)
        moved = points - centre  # small where the data are far from the origin
        means = shares @ self._means_at(centre)  # (n, D - F)
        if len(self.slopes) == 1:
            return means.addmm_(moved, self.slopes[0].mT)
        slopes = self.slopes.flatten(1)  # (M, (D - F) F)
        size = max(1, _NUMBERS // slopes.shape[1])
        parts = (part.split(size) for part in (shares, moved, means))
        for share, move, mean in zip(*parts, strict=True):
            average = (share @ slopes).view(-1, *self.slopes.shape[1:])
            mean += (average @ move[:, :, None])[:, :, 0]
        return means

    def _means_at(self, point: Tensor) -> Tensor:
        """Return the mean of the targets for one point and each component."""
        moved = point - self.given.means  # (M, F)
        return self.means + (self.slopes @ moved[:, :, None])[:, :, 0]
