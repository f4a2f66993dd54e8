"""The penalised cost of a mixture on a data set: the seam that solvers work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sklearn_keops_gmm._covariances import COVARIANCES, CovarianceStructure
from sklearn_keops_gmm._parameters import (
    Components,
    MixtureParameters,
    Moments,
    Structure,
)
from sklearn_keops_gmm._priors import SparsityPrior
from sklearn_keops_gmm.backends import Reductions

# All pairs of so many components are looked at, of more those of near means.
_ALL_PAIRS = 64
_NEAR = 16


@dataclass(frozen=True)
class Objective:
    """Cost, moments, M-step and gradient of a mixture on one data set.

    ``cost = -mean log-likelihood + prior``. With ``reg_covar`` > 0 what each M-step
    improves is that cost plus ``0.5 reg_covar sum_j r_j tr(inv(Sigma_j))``, the
    masses r_j held constant.

    Parameters
    ----------
    reductions : Reductions
        The data, bound to a backend.
    total_weight : float
        The sum of the sample weights.
    covariance : CovarianceStructure
    prior : SparsityPrior
    reg_covar : float
    """

    reductions: Reductions
    total_weight: float
    covariance: CovarianceStructure
    prior: SparsityPrior
    reg_covar: float

    @property
    def n_components(self) -> int:
        """M, as asked for."""
        return self.prior.n_components

    @property
    def least_penalty(self) -> float:
        """The prior's term of the cost of a single component."""
        return self.prior.price

    # -- values ------------------------------------------------------------------

    def components(self, parameters: MixtureParameters) -> Components:
        """Return what the backend needs to know of `parameters`."""
        return self.covariance.components(
            parameters.weights.log(), parameters.means, parameters.precisions_cholesky
        )

    def moments(self, parameters: MixtureParameters) -> Moments:
        """Return the moments about the means of `parameters`."""
        return self.reductions.moments(self.components(parameters))

    def penalty(self, parameters: MixtureParameters) -> float:
        """Return the prior's term of the cost."""
        return float(self.prior.value(parameters.weights))

    def unit_penalty(self, parameters: MixtureParameters) -> float:
        """Return by how much the cost grows with the sparsity."""
        return float(self.prior.unit_value(parameters.weights))

    def log_likelihood(self, moments: Moments) -> float:
        """Return the mean log-likelihood of the parameters that made `moments`."""
        return moments.log_likelihood / self.total_weight

    def cost(self, parameters: MixtureParameters) -> float:
        """Return the penalised cost of `parameters`."""
        return self.penalty(parameters) - self.score(parameters)

    def score(self, parameters: MixtureParameters) -> float:
        """Return the mean log-likelihood of the data, which need no fit."""
        return self.log_likelihood(self.moments(parameters))

    def entropy(self, moments: Moments, parameters: MixtureParameters) -> float:
        """Return the entropy of the responsibilities, summed over the samples.

        It is what the log-likelihood exceeds that of the complete data by, whose
        expectation the moments give.
        """
        components = self.components(parameters)
        _, gradient = COVARIANCES[components.structure].quadratic_gradient(
            components.factors, moments
        )
        distances = -(components.factors * gradient).sum()
        complete = moments.mass @ components.offsets - 0.5 * distances
        return moments.log_likelihood - float(complete)

    # -- expectation-maximisation -----------------------------------------------

    def maximize(
        self, moments: Moments, parameters: MixtureParameters
    ) -> MixtureParameters:
        """Return the M-step from `moments` about `parameters`.

        Components that the prior has extinguished are left out.

        Raises
        ------
        ValueError
            If a covariance is not positive definite, as in scikit-learn.
        """
        fractions = moments.mass / moments.mass.sum()
        weights = self.prior.maximize(fractions, parameters.weights)
        means = parameters.means
        alive = self.prior.alive(weights)
        if not bool(alive.all()):
            weights = weights[alive] / weights[alive].sum()
            means = means[alive]
            moments = self.covariance.select_moments(moments, alive)
        means, covariances = self.covariance.m_step(moments, means, self.reg_covar)
        factors = self.covariance.factors(covariances)
        return MixtureParameters(weights, means, covariances, factors)

    # -- other numbers of components -----------------------------------------------

    def merger_estimates(
        self, moments: Moments, parameters: MixtureParameters
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Estimate what the mergers of two neighbours change.

        Returns
        -------
        pairs : Tensor of shape (P, 2), int64
        losses : Tensor of shape (P,)
            A bound on the mean log-likelihood that is lost.
        refunds : Tensor of shape (P,)
            What the prior's term of the cost falls by.
        """
        fractions = moments.mass / moments.mass.sum()
        means, covariances = parameters.means, parameters.covariances
        pairs = _neighbours(means)
        losses = self.covariance.merge_losses(fractions, means, covariances, pairs)
        roots = parameters.weights.sqrt()
        both = parameters.weights[pairs].sum(1).sqrt()
        refunds = self.prior.price * (roots[pairs].sum(1) - both)
        return pairs, losses, refunds

    def merged(
        self, moments: Moments, parameters: MixtureParameters, pairs: Tensor
    ) -> MixtureParameters:
        """Return the M-step in which each of disjoint `pairs`, (P, 2), is one."""
        n_components = len(parameters.weights)
        labels = torch.arange(n_components, device=pairs.device)
        labels[pairs[:, 1]] = pairs[:, 0]
        kept, labels = labels.unique(return_inverse=True)
        moments, means = self.covariance.merge(
            moments, parameters.means, labels, len(kept)
        )
        weights = means.new_zeros(len(kept)).index_add_(0, labels, parameters.weights)
        unions = MixtureParameters(
            weights,
            means,
            self.covariance.select(parameters.covariances, kept),
            self.covariance.select(parameters.precisions_cholesky, kept),
        )
        return self.maximize(moments, unions)

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""
        kept = ~dropped
        weights = parameters.weights[kept]
        return MixtureParameters(
            weights / weights.sum(),
            parameters.means[kept],
            self.covariance.select(parameters.covariances, kept),
            self.covariance.select(parameters.precisions_cholesky, kept),
        )

    def split(self, parameters: MixtureParameters, j: int) -> MixtureParameters:
        """Return the mixture with component `j` as two halves side by side.

        They lie half a standard deviation to either side of its mean, along its
        longest axis, and are as wide as it was.
        """
        covariance = self.covariance.of_one(parameters.covariances, j)
        step = 0.5 * self.covariance.longest_axis(covariance, parameters.means.shape[1])
        twice = torch.arange(len(parameters.weights) + 1, device=step.device)
        twice[-1] = j
        weights, means = parameters.weights[twice], parameters.means[twice]
        weights[[j, -1]] *= 0.5
        means[j] -= step
        means[-1] += step
        return MixtureParameters(
            weights,
            means,
            self.covariance.select(parameters.covariances, twice),
            self.covariance.select(parameters.precisions_cholesky, twice),
        )

    # -- gradients ---------------------------------------------------------------

    def differentiable_cost(
        self, logits: Tensor, means: Tensor, factors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cost of unconstrained parameters for torch to differentiate.

        Parameters
        ----------
        logits : Tensor of shape (M,)
            Unnormalised log-weights.
        means : Tensor of shape (M, D)
        factors : Tensor
            Any square factors of the precisions, in the structure's shape.

        Returns
        -------
        cost : Tensor of shape ()
        ridge : Tensor of shape ()
            What `reg_covar` adds to the cost to be minimised.
        log_likelihood : Tensor of shape ()
        """
        log_weights = torch.log_softmax(logits, 0)
        components = self.covariance.components(log_weights, means, factors)
        total, mass = _LogLikelihood.apply(
            components.offsets,
            components.means,
            components.factors,
            components.structure,
            self.reductions,
        )
        log_likelihood = total / self.total_weight
        traces = self.covariance.precision_traces(factors, means.shape[1])
        ridge = 0.5 * self.reg_covar * (mass / self.total_weight * traces).sum()
        cost = self.prior.value(log_weights.exp()) - log_likelihood
        return cost, ridge, log_likelihood

    def parameters(
        self, logits: Tensor, means: Tensor, factors: Tensor
    ) -> MixtureParameters:
        """Return the mixture that unconstrained parameters describe.

        Components whose removal does not raise the cost by itself, because the
        softmax has made their weights negligible, are left out.
        """
        triangle = self.covariance.triangular(factors.detach())
        parameters = MixtureParameters(
            torch.softmax(logits.detach(), 0),
            means.detach().clone(),
            self.covariance.covariances(triangle),
            triangle,
        )
        return self._without_negligible(parameters)

    def _without_negligible(self, parameters: MixtureParameters) -> MixtureParameters:
        threshold = 1e-3 / self.prior.n_components
        alive = parameters.weights >= threshold
        if self.prior.sparsity == 0 or bool(alive.all()):
            return parameters
        reduced = self.without(parameters, ~alive)
        return reduced if self.cost(reduced) <= self.cost(parameters) else parameters


class _LogLikelihood(torch.autograd.Function):
    """``sum_i v_i log p(x_i)`` with its gradient from the moments.

    Two reductions give both, where differentiating through the reductions would
    take four. By Fisher's identity the gradient is that of the expected complete
    log-likelihood, whose expectations the moments are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        offsets: Tensor,
        means: Tensor,
        factors: Tensor,
        structure: Structure,
        reductions: Reductions,
    ) -> tuple[Tensor, Tensor]:
        moments = reductions.moments(Components(structure, offsets, means, factors))
        ctx.save_for_backward(factors)
        ctx.moments, ctx.covariance = moments, COVARIANCES[structure]
        ctx.mark_non_differentiable(moments.mass)
        return offsets.new_tensor(moments.log_likelihood), moments.mass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (factors,) = ctx.saved_tensors
        scale = gradients[0]
        means_gradient, factors_gradient = ctx.covariance.quadratic_gradient(
            factors, ctx.moments
        )
        return (
            scale * ctx.moments.mass,
            scale * means_gradient,
            scale * factors_gradient,
            None,
            None,
        )


def _neighbours(means: Tensor) -> Tensor:
    """Return pairs of components whose means are close to each other, (P, 2)."""
    n_components = len(means)
    if n_components <= _ALL_PAIRS:
        return torch.combinations(torch.arange(n_components, device=means.device))
    spread = means.std(0).clamp_min(torch.finfo(means.dtype).tiny)
    distances = torch.cdist(means / spread, means / spread)
    near = distances.topk(_NEAR + 1, largest=False).indices[:, 1:]  # (M, near)
    rows = torch.arange(n_components, device=means.device)[:, None].expand_as(near)
    pairs = torch.stack((rows, near), -1).reshape(-1, 2).sort(1).values
    return pairs.unique(dim=0)
