"""Priors that know parameters: samples that say the same, or parameters that stay."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import MixtureParameters, Moments
from sklearn_keops_gmm._model._priors import Frozen, Prior, Unknowns
from sklearn_keops_gmm._model.covariances import CovarianceStructure


class PseudoSamples(Prior):
    """As many samples for each component as would make it what it was.

    The conjugate prior: with tau samples of each component of a known mixture in the
    M-step, means are ``(F_j + tau mu0_j) / (r_j + tau)``, and covariances and weights
    are those of both kinds of samples together. The term of the cost is, up to
    constants, ``tau / N (sum_j KL(N0_j || N_j) + M KL(w0 || w))``.

    Parameters
    ----------
    covariance : CovarianceStructure
    known : MixtureParameters
    relevance : float
        tau > 0.
    n_samples : float
        N, in the same unit.
    """

    def __init__(
        self,
        covariance: CovarianceStructure,
        known: MixtureParameters,
        relevance: float,
        n_samples: float,
    ) -> None:
        self.covariance = covariance
        self.known = known
        self.share = relevance / n_samples
        roots = covariance.roots(known.precisions_cholesky, known.means)
        # A covariance is the sum of the outer products of its root's columns.
        self._scatter = torch.stack(
            [covariance.outer(column) for column in roots.unbind(-1)]
        ).sum(0)
        self._entropy = self._cross_entropy(known.means, known.precisions_cholesky)

    def value(self, unknowns: Unknowns) -> Tensor:
        """Return the term of the cost, zero at the known mixture."""
        weights = self.known.weights
        entropy = self._cross_entropy(unknowns.means, unknowns.factors)
        of_weights = torch.xlogy(weights, weights) - torch.xlogy(
            weights, unknowns.weights
        )
        of_components = entropy - self._entropy
        return self.share * (of_components + len(weights) * of_weights.sum())

    def maximize_weights(
        self, fractions: Tensor, weights: Tensor, share: float = 1.0
    ) -> Tensor:
        """Return the weights of samples and pseudo-samples together."""
        both = fractions + self.share * len(weights) * self.known.weights
        return share * both / both.sum()

    def augmented(self, moments: Moments, means: Tensor) -> Moments:
        """Return moments about `means` with those of the pseudo-samples."""
        own = self._moments(means)
        scaled = own.scaled(self.share * float(moments.mass.sum()))
        return replace(moments + scaled, log_likelihood=moments.log_likelihood)

    def _moments(self, means: Tensor) -> Moments:
        """Return moments of one sample for each component, differentiable."""
        shift = self.known.means - means
        second = self._scatter + self.covariance.outer(shift)
        mass = torch.ones_like(self.known.weights)
        return Moments(mass, shift, self.covariance.pool(second), 0.0)

    def _cross_entropy(self, means: Tensor, factors: Tensor) -> Tensor:
        """Return ``-sum_j E log N(x; means_j, ...)`` under the known components.

        But for a constant.
        """
        n_components, n_features = means.shape
        volumes = self.covariance.log_det(factors, n_features).expand(n_components)
        factors = self.covariance.expand(factors, n_components)
        _, gradient = self.covariance.quadratic_gradient(factors, self._moments(means))
        return -0.5 * (factors * gradient).sum() - volumes.sum()


class FrozenParameters(Prior):
    """Parameters that stay as they are: a prior that is infinitely strong.

    Parameters
    ----------
    frozen : Frozen
        Which do.
    shared : bool
        Whether all components share a covariance.
    """

    def __init__(self, frozen: Frozen, shared: bool) -> None:
        self.frozen: Frozen = frozen
        self.shared = shared

    def maximize_weights(
        self, fractions: Tensor, weights: Tensor, share: float = 1.0
    ) -> Tensor:
        """Return weights of which those that are not frozen fill what these leave."""
        stay = self.frozen.weights.to(weights.device)
        left = share - weights[stay].sum()
        free = torch.where(stay, 0.0, fractions)
        scale = left / free.sum().clamp_min(torch.finfo(free.dtype).tiny)
        return torch.where(stay, weights, scale * free)

    def logits(self, logits: Tensor) -> Tensor:
        """Return log-weights: frozen as they are, the others fill what these leave."""
        stay = self.frozen.weights.to(logits.device)
        if bool(stay.all()) or not bool(stay.any()):
            return logits
        left = torch.log1p(-logits[stay].detach().exp().sum())
        free = logits.masked_fill(stay, -torch.inf)
        return torch.where(stay, logits, logits - free.logsumexp(0) + left)

    def augmented(self, moments: Moments, means: Tensor) -> Moments:
        """Return moments in which frozen means are those of the samples."""
        stay = self.frozen.means.to(means.device)
        return replace(moments, first=moments.first.masked_fill(stay[:, None], 0.0))

    def kept(
        self, found: MixtureParameters, before: MixtureParameters
    ) -> MixtureParameters:
        """Return what was found, but for what is frozen, which is as before."""
        blocks = 1 if self.shared else len(self.frozen.covariances)

        def mix(frozen: Tensor, before: Tensor, found: Tensor) -> Tensor:
            stay = frozen.to(found.device)
            if stay.all() or not stay.any():
                return before if stay.all() else found
            return torch.where(stay.reshape(-1, *[1] * (found.ndim - 1)), before, found)

        return replace(
            found,
            weights=mix(self.frozen.weights, before.weights, found.weights),
            means=mix(self.frozen.means, before.means, found.means),
            covariances=mix(
                self.frozen.covariances[:blocks], before.covariances, found.covariances
            ),
            precisions_cholesky=mix(
                self.frozen.covariances[:blocks],
                before.precisions_cholesky,
                found.precisions_cholesky,
            ),
        )
