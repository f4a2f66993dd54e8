"""The penalised cost of a mixture on a data set: the seam that solvers work on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._autograd import LogLikelihood
from sklearn_keops_gmm._fit._chart import WhitenedChart, extrapolate
from sklearn_keops_gmm._model import (
    Components,
    CostTerms,
    Leap,
    MixtureParameters,
    Moments,
    Prior,
    Ridge,
    Rounding,
    Targets,
    Unknowns,
    neighbouring_pairs,
    select_components,
    split_component,
    without_components,
)
from sklearn_keops_gmm._model.covariances import (
    ILL_DEFINED,
    MASS_FLOOR,
    CovarianceStructure,
    above_mass_floor,
)
from sklearn_keops_gmm.backends import Reductions

# A variance that, beside that of the whole mixture, is none.
_COLLAPSED = 1e-24
# Targets that would move by less stay.
_HARDLY = 1e-3


@dataclass(frozen=True)
class MixtureObjective:
    """Cost, moments, M-step and gradient of a mixture on one data set.

    ``cost = -mean log-likelihood + prior``. With a ridge what each M-step improves is
    that cost plus ``0.5 sum_j r_j tr(inv(Sigma_j) diag(ridge))``, the masses r_j held
    constant.

    Parameters
    ----------
    reductions : Reductions
        The data, bound to a backend.
    total_weight : float
        The sum of the sample weights.
    covariance : CovarianceStructure
    n_components : int
        M, as asked for.
    prior : Prior
    ridge : Ridge
    rounding : Rounding or None
        Of the samples: with a prior under which components leave, but without a
        ridge, no variance is below it. Otherwise a component of one sample is
        scikit-learn's.
    """

    reductions: Reductions
    total_weight: float
    covariance: CovarianceStructure
    n_components: int
    prior: Prior
    ridge: Ridge
    rounding: Rounding | None = None

    @property
    def least_penalty(self) -> float:
        """The prior's term of the cost of a single component."""
        return self.prior.least

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
        """Return the term of the cost that does not depend on the data."""
        unknowns = Unknowns(
            parameters.weights,
            parameters.means,
            parameters.precisions_cholesky,
            parameters.targets,
        )
        return float(self.prior.value(unknowns))

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
        expectation the moments give; of features that are missing nothing counts.
        """
        components = self.components(parameters)
        _, gradient = self.covariance.quadratic_gradient(components.factors, moments)
        distances = -(components.factors * gradient).sum()
        complete = moments.mass @ components.offsets - 0.5 * distances
        complete = complete - moments.missing
        return moments.log_likelihood - float(complete)

    # -- expectation-maximisation -----------------------------------------------

    def maximize(
        self,
        moments: Moments,
        parameters: MixtureParameters,
        *,
        extinguish: bool = True,
        merged: Tensor | None = None,
    ) -> MixtureParameters:
        """Return the M-step from `moments` about `parameters`.

        Components that the prior has extinguished, or that have collapsed where there
        is a prior, are left out; without `extinguish` only those of weight zero. For
        those `merged`, (M,) bool, the scale of targets is found anew.

        Raises
        ------
        ValueError
            If a covariance is not positive definite, as in scikit-learn.
        """
        moments, fractions = self._above_mass_floor(moments)
        weights = self.prior.maximize_weights(fractions, parameters.weights)
        alive = self.prior.alive(weights) if extinguish else weights > 0
        if not bool(alive.all()):
            weights = weights[alive] / weights[alive].sum()
            fractions = fractions[alive]
            parameters = select_components(self.covariance, parameters, alive)
            moments = self.covariance.select_moments(moments, alive)
        rounding = self._rounding(parameters.means)
        means, scatter = self.covariance.m_step(
            moments, parameters.means, self.ridge.amounts, rounding
        )
        targets = parameters.targets
        if targets is not None and merged is not None:
            targets = self.prior.rescaled(targets, scatter, fractions, merged[alive])
        covariances = self.prior.pull(scatter, fractions, targets)
        found = MixtureParameters(weights, means, covariances, covariances, targets)
        if rounding is not None and extinguish:
            found = self._without_collapsed(found)
        factors = self.covariance.factors(found.covariances)
        return replace(found, precisions_cholesky=factors)

    def _above_mass_floor(self, moments: Moments) -> tuple[Moments, Tensor]:
        """Return moments that the mass floor is nothing beside, and mass fractions."""
        mean_weight = self.total_weight / self.reductions.n_samples
        moments = above_mass_floor(moments, mean_weight)
        return moments, moments.mass / moments.mass.sum()

    def _rounding(self, means: Tensor) -> Tensor | None:
        """Return how coordinates near means are rounded, where that matters."""
        if self.rounding is None or self.ridge.size > 0 or not self.prior.selects:
            return None
        return self.rounding.near(means)

    def renewed(
        self, parameters: MixtureParameters, moments: Moments | None = None
    ) -> MixtureParameters | None:
        """Return the parameters with the targets that the data now make.

        Parameters
        ----------
        parameters : MixtureParameters
        moments : Moments, default=None
            About their means. Without them the covariances are taken as they are.

        Returns
        -------
        parameters : MixtureParameters or None
            None if there are no targets, or they would hardly move.
        """
        if not self.prior.pools:
            return None
        scatter, fractions = parameters.covariances, parameters.weights
        if moments is not None:
            moments, fractions = self._above_mass_floor(moments)
            _, scatter = self.covariance.m_step(
                moments, parameters.means, self.ridge.amounts
            )
        targets, held = self.prior.renewed(scatter, fractions), parameters.targets
        if targets is None or (held and targets.distance(held) < _HARDLY):
            return None
        return replace(parameters, targets=targets)

    def _without_collapsed(self, parameters: MixtureParameters) -> MixtureParameters:
        """Leave out components without a width, if others have one."""
        wide = (self._variances(parameters) > 0).all(1)
        if bool(wide.all()) or not bool(wide.any()):
            return parameters
        return self.without(parameters, ~wide)

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
        penalty_decreases : Tensor of shape (P,)
            Of the prior's term of the cost.
        """
        fractions = moments.mass / moments.mass.sum()
        means, covariances = parameters.means, parameters.covariances
        pairs = neighbouring_pairs(means)
        losses = self.covariance.merge_losses(fractions, means, covariances, pairs)
        return pairs, losses, self.prior.decreases(parameters.weights, pairs)

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
        unions = select_components(self.covariance, parameters, kept)
        unions = replace(unions, weights=weights, means=means)
        union = torch.zeros(len(kept), dtype=torch.bool, device=pairs.device)
        union[labels[pairs[:, 0]]] = True
        return self.maximize(moments, unions, merged=union)

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""
        return without_components(self.covariance, parameters, dropped)

    def split(self, parameters: MixtureParameters, j: int) -> MixtureParameters:
        """Return the mixture with component `j` as two halves side by side."""
        return split_component(self.covariance, parameters, j)

    # -- gradients ---------------------------------------------------------------

    def differentiable_cost(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        fractions: Tensor | None = None,
        targets: Targets | None = None,
    ) -> CostTerms:
        """Return the cost of unconstrained parameters for torch to differentiate.

        Parameters
        ----------
        logits : Tensor of shape (M,)
            Unnormalised log-weights.
        means : Tensor of shape (M, D)
        factors : Tensor
            Any square factors of the precisions, in the structure's shape.
        fractions : Tensor of shape (M,), default=None
            Masses to hold constant in the ridge; None takes those found here.
        targets : Targets, default=None
            Of the covariances, held.
        """
        log_weights = torch.log_softmax(logits, 0)
        components = self.covariance.components(log_weights, means, factors)
        total, mass = LogLikelihood.apply(
            components.offsets,
            components.means,
            components.factors,
            self.covariance,
            self.reductions,
        )
        log_likelihood = total / self.total_weight
        ridge = self.ridge
        traces = self.covariance.precision_traces(
            factors, means.shape[1], ridge.profile
        )
        found = mass / self.total_weight
        held = found if fractions is None else fractions
        raised = 0.5 * ridge.size * (held * traces).sum()
        unknowns = Unknowns(log_weights.exp(), means, factors, targets)
        cost = self.prior.value(unknowns) - log_likelihood
        return CostTerms(cost, raised, log_likelihood, found)

    def leap(
        self,
        origin: MixtureParameters,
        middle: MixtureParameters,
        end: MixtureParameters,
        longest: float,
    ) -> Leap | None:
        """Return where two steps from `origin` point, if further than to their end."""
        found = extrapolate(self.covariance, (origin, middle, end), longest)
        if found is None:
            return None
        return Leap(self.parameters(*found.unknowns, end.targets), found.length)

    def near(self, parameters: MixtureParameters) -> WhitenedChart:
        """Return the cost on the mixtures around `parameters`, well scaled."""
        return WhitenedChart(self, parameters)

    def batches(
        self, batch_size: int | None, random_state: RandomState
    ) -> Iterator[MixtureObjective]:
        """Yield objectives on parts of the data that together are all of it.

        The rows are shuffled and split into the fewest parts of at most
        `batch_size` rows, their sizes as even as can be. Each estimates the whole
        without bias: the mean over the batches, weighted by their sizes, of costs
        and gradients is that of all the data.
        """
        n_samples = self.reductions.n_samples
        if batch_size is None or batch_size >= n_samples:
            yield self
            return
        n_batches = -(-n_samples // batch_size)
        for rows in np.array_split(random_state.permutation(n_samples), n_batches):
            yield replace(
                self,
                reductions=self.reductions.of_rows(torch.from_numpy(rows)),
                total_weight=self.total_weight * (len(rows) / n_samples),
            )

    def parameters(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        targets: Targets | None = None,
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
            targets,
        )
        alive = self.survivors(parameters)
        return parameters if bool(alive.all()) else self.without(parameters, ~alive)

    def check_not_collapsed(
        self, parameters: MixtureParameters, start: MixtureParameters
    ) -> None:
        """Check that no component has collapsed since the `start` of a fit.

        With a ridge none does: the gradient keeps variances above it.

        Raises
        ------
        ValueError
            If a covariance is not positive definite in double precision, or a
            variance is nothing beside that of the whole mixture at the start; or if
            that of a single sample is what the floor of its mass has made of it.
        """
        if self.ridge.size > 0:
            return
        self.covariance.factors(parameters.covariances)
        weights, means = start.weights[:, None], start.means
        own = self._variances(start)
        whole = (weights * ((means - (weights * means).sum(0)) ** 2 + own)).sum(0)
        variances = self._variances(parameters)
        counts = parameters.weights * self.reductions.n_samples
        floors = 4 * MASS_FLOOR * parameters.means**2
        alone = (counts < 1.5)[:, None] & (variances <= floors)
        if not bool((~alone & (variances > _COLLAPSED * whole)).all()):
            raise ValueError(ILL_DEFINED)

    def _variances(self, parameters: MixtureParameters) -> Tensor:
        """Return the variances of the features in each component, (M, D)."""
        covariances = parameters.covariances
        matrices = self.covariance.matrices(covariances, parameters.means)
        return torch.diagonal(matrices, dim1=-2, dim2=-1)

    def survivors(self, parameters: MixtureParameters) -> Tensor:
        """Tell, (M,) bool, which components are left when negligible ones leave.

        Those leave whose weights are negligible if there is a prior, and if together
        they do not lower the cost.
        """
        alive = parameters.weights >= 1e-3 / self.n_components
        if not self.prior.selects or bool(alive.all()):
            return torch.ones_like(alive)
        reduced = self.without(parameters, ~alive)
        worse = self.cost(reduced) > self.cost(parameters)
        return torch.ones_like(alive) if worse else alive
