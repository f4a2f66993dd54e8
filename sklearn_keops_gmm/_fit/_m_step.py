"""From moments, and weights that are known, to a mixture.

By the backend, in one call, or by the structure of the covariances, which knows every
case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from sklearn_keops_gmm._fit._collapse import has_width
from sklearn_keops_gmm._model import (
    MixtureParameters,
    Moments,
    Prior,
    Ridge,
    RootPrice,
    without_components,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure, pulled
from sklearn_keops_gmm.backends import MStep


@dataclass(frozen=True)
class Maximization:
    """How an M-step finds means and covariances.

    Attributes
    ----------
    covariance : CovarianceStructure
    prior : Prior
    ridge : Ridge
    compiled : MStep or None
        That of the backend.
    """

    covariance: CovarianceStructure
    prior: Prior
    ridge: Ridge
    compiled: MStep | None

    def in_one_call(
        self, moments: Moments, before: MixtureParameters, share: float, whole: float
    ) -> MixtureParameters | None:
        """Return the mixture by the backend, where it can find the weights, too.

        None where it cannot, or a component leaves.

        Parameters
        ----------
        moments : Moments
            About the means of `before`.
        before : MixtureParameters
        share : float
            What weights sum to.
        whole : float
            The mass of all samples; 0 for that of the components.
        """
        price = self.prior.root_price
        noisy = moments.noise or before.noise_weight
        if self.compiled is None or price is None or noisy:
            return None
        weights = pull = None
        if price > 0.0 or share < 1.0:
            weights = RootPrice(price, before.weights, share, whole)
        if self.prior.pools:
            fractions = moments.mass / (whole or moments.mass.sum())
            pull = self.prior.pull(fractions, before.targets)
        return self.compiled(moments, before.means, self.ridge, weights, pull)

    def found(
        self,
        moments: Moments,
        before: MixtureParameters,
        weights: Tensor,
        fractions: Tensor,
        *,
        rounding: Tensor | None = None,
        leave: bool = False,
        merged: Tensor | None = None,
    ) -> MixtureParameters:
        """Return the mixture, without noise.

        Parameters
        ----------
        moments : Moments
            About the means of `before`.
        before : MixtureParameters
        weights, fractions : Tensor of shape (M,)
            Those of the mixture, and masses as parts of that of all samples.
        rounding : Tensor of shape (M, D), default=None
            By how much coordinates near the means are rounded.
        leave : bool, default=False
            Whether components leave that are not wider than that, if others are.
        merged : Tensor of shape (M,), bool, default=None
            For which components the scale of targets is found anew.

        Raises
        ------
        ValueError
            If a covariance is not positive definite.
        """
        found = None
        anew = before.targets is not None and merged is not None
        if self.compiled is not None and rounding is None and not anew:
            pull = self.prior.pull(fractions, before.targets)
            found = self.compiled(moments, before.means, self.ridge, weights, pull)
        if found is not None:
            return self.prior.kept(found, before)
        means, scatter, _ = self.scattered(moments, before.means, rounding)
        targets = before.targets
        if targets is not None and merged is not None:
            targets = self.prior.rescaled(targets, scatter, fractions, merged)
        pull = self.prior.pull(fractions, targets)
        covariances = scatter if pull is None else pulled(scatter, pull)
        found = MixtureParameters(weights, means, covariances, covariances, targets)
        found = self._with_width(found) if leave else found
        # What is frozen needs no factors that its scatter, of few samples, may lack.
        found = self.prior.kept(found, before)
        factors = self.covariance.factors(found.covariances)
        return self.prior.kept(replace(found, precisions_cholesky=factors), before)

    def scattered(
        self, moments: Moments, about: Tensor, rounding: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the means, (M, D), and scatter over mass with the ridge, unpulled.

        And the factors of that, where they come with it.

        Parameters
        ----------
        moments : Moments
        about : Tensor of shape (M, D)
            What they are about.
        rounding : Tensor of shape (M, D), default=None
            As for `found`.
        """
        if self.compiled is not None and rounding is None:
            found = self.compiled(moments, about, self.ridge)
            if found is not None:
                return found.means, found.covariances, found.precisions_cholesky
        amounts = self.ridge.amounts
        return *self.covariance.m_step(moments, about, amounts, rounding), None

    def _with_width(self, parameters: MixtureParameters) -> MixtureParameters:
        """Leave out components without a width, if others have one."""
        wide = has_width(self.covariance, parameters)
        if bool(wide.all()) or not bool(wide.any()):
            return parameters
        kept = without_components(self.covariance, parameters, ~wide)
        return replace(kept, weights=parameters.weights.sum() * kept.weights)
