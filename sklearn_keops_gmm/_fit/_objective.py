"""The penalised cost of a mixture on a data set: the seam that solvers work on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._autograd import LogLikelihood, log_weights_of
from sklearn_keops_gmm._fit._chart import WhitenedChart
from sklearn_keops_gmm._fit._collapse import has_collapsed
from sklearn_keops_gmm._fit._edits import MixtureEdits
from sklearn_keops_gmm._fit._groups import Groups
from sklearn_keops_gmm._fit._local import NOTHING_HELD, Held
from sklearn_keops_gmm._fit._m_step import Maximization
from sklearn_keops_gmm._model import (
    AllNoiseError,
    ComponentPrice,
    Components,
    CostTerms,
    MixtureParameters,
    Moments,
    Prior,
    Priors,
    Ridge,
    Rounding,
    State,
    Targets,
    Unknowns,
    components_of,
    select_components,
    without_components,
)
from sklearn_keops_gmm._model.covariances import (
    ILL_DEFINED,
    CovarianceStructure,
    above_mass_floor,
)
from sklearn_keops_gmm.backends import Beside, MStep, Reductions
from sklearn_keops_gmm.solvers import check_finite

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
    held : Held
        Other components, if there are some: weights then sum to less than 1.
    compiled : MStep or None
        The M-step of the backend, where it has one of its own.
    groups : Groups or None
        What finds components that a mixture lacks.
    samples_a_weight : float
        How many samples, that say as much as equal ones, are in a weight of 1.
    rounded : Tensor of shape (D,) or None
        The variances W of what rounds to a value. The log-density of a sample under a
        component is then its mean over that, ``tr(inv(Sigma_j) diag(W)) / 2`` less: by
        Jensen's inequality the log-likelihood is at most the mean of the mixture's. It
        is for EM: `differentiable_cost` is that of the values as they are.
    """

    reductions: Reductions
    total_weight: float
    covariance: CovarianceStructure
    n_components: int
    prior: Prior
    ridge: Ridge
    rounding: Rounding | None = None
    held: Held = NOTHING_HELD
    compiled: MStep | None = None
    groups: Groups | None = None
    samples_a_weight: float = 1.0
    rounded: Tensor | None = None
    # What the last M-step has found, if an E-step was part of it.
    _known: list[State] = field(default_factory=list, init=False, compare=False)

    # -- values ------------------------------------------------------------------

    def components(self, parameters: MixtureParameters) -> Components:
        """Return what the backend needs to know of `parameters`."""
        return components_of(self.covariance, parameters, self.rounded)

    def moments(self, parameters: MixtureParameters) -> Moments:
        """Return the moments about the means of `parameters`."""
        return self.reductions.moments(self.components(parameters))

    def penalty(self, parameters: MixtureParameters) -> float:
        """Return the term of the cost that does not depend on the data."""
        if self.prior.plain:
            return self.held.penalty
        p = parameters
        unknowns = Unknowns(p.weights, p.means, p.precisions_cholesky, p.targets)
        return float(self.prior.value(unknowns)) + self.held.penalty

    def log_likelihood(self, moments: Moments) -> float:
        """Return the mean log-likelihood of the parameters that made `moments`."""
        return (moments.log_likelihood + self.held.log_likelihood) / self.total_weight

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
        # No sample is of a component without mass, whose log-weight is -inf.
        offsets = torch.where(moments.mass > 0, components.offsets, 0.0)
        complete = moments.mass @ offsets - 0.5 * distances - moments.missing
        return moments.log_likelihood - float(complete + moments.noise_log_density)

    # -- expectation-maximisation -----------------------------------------------

    def evaluate(self, parameters: MixtureParameters) -> State:
        """Make the E-step.

        Raises
        ------
        ValueError
            If the cost is not finite.
        """
        state = self._state(parameters)
        check_finite(state.cost)
        return state

    def _state(self, parameters: MixtureParameters) -> State:
        """Make the E-step, unless it is known."""
        if self._known and (known := self._known.pop()).parameters is parameters:
            return known
        moments = self.moments(parameters)
        log_likelihood = self.log_likelihood(moments)
        return State(parameters, moments, log_likelihood, self.penalty(parameters))

    def maximize(self, state: State) -> MixtureParameters:
        """Make the M-step.

        Components that the prior extinguishes leave unless that raises the cost, as it
        can where a weight of nearly nothing is all that explains some samples.
        """
        moments, parameters = state.moments, state.parameters
        found = self.m_step(moments, parameters)
        if len(found.weights) == state.n_components:
            return found
        after = self._state(found)
        if not after.cost <= state.cost:  # also NaN
            kept = self._state(self.m_step(moments, parameters, extinguish=False))
            after = after if after.cost <= kept.cost else kept
        # Most ask for the E-step next.
        self._known.append(after)
        return after.parameters

    def m_step(
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
            If a covariance is not positive definite, as in scikit-learn, or noise
            explains all samples.
        """
        moments = above_mass_floor(moments, self._mean_weight)
        if extinguish and (merged is None or parameters.targets is None):
            known = self._maximization.in_one_call(
                moments,
                parameters,
                self.held.share,
                self._whole if self.held.share < 1.0 else 0.0,
            )
            if known is not None:
                return known
        fractions = self._fractions(moments)
        noise_weight = self._noise_weight(moments, parameters)
        share = self.held.share
        weights = self.prior.maximize_weights(fractions, parameters.weights, share)
        alive = self._alive(weights, extinguish)
        if alive is not None:
            weights = share * weights[alive] / weights[alive].sum()
            fractions = fractions[alive]
            parameters = select_components(self.covariance, parameters, alive)
            moments = self.covariance.select_moments(moments, alive)
        moments = self.prior.augmented(moments, parameters.means)
        rounding = self._rounding(parameters.means)
        found = self._maximization.found(
            moments,
            parameters,
            weights,
            fractions,
            rounding=rounding,
            leave=rounding is not None and extinguish,
            merged=merged if merged is None or alive is None else merged[alive],
        )
        return replace(found, noise_weight=noise_weight) if noise_weight else found

    @cached_property
    def _maximization(self) -> Maximization:
        """What finds means and covariances."""
        return Maximization(self.covariance, self.prior, self.ridge, self.compiled)

    @cached_property
    def _mean_weight(self) -> float:
        return self.total_weight / self.reductions.n_samples

    @property
    def _whole(self) -> float:
        """The mass of all samples in moments above the mass floor."""
        return max(1.0, self._mean_weight) * self.reductions.n_samples

    def _alive(self, weights: Tensor, extinguish: bool) -> Tensor | None:
        """Tell which components are left, (M,) bool; None if all are."""
        if extinguish and not self.prior.selects:
            return None
        alive = self.prior.alive(weights) if extinguish else weights > 0
        return None if bool(alive.all()) else alive

    def _fractions(self, moments: Moments) -> Tensor:
        """Return mass fractions, (M,), of moments above the mass floor."""
        if not bool(moments.mass.any()):
            # Nothing is left to share out, as where others that are held explain all.
            raise AllNoiseError if moments.noise else ValueError(ILL_DEFINED)
        if self.held.share == 1.0 and self.held.noise_weight == 0.0:
            total = moments.mass.sum()
            if moments.noise:
                total = total + moments.noise
            return moments.mass / total
        return moments.mass / self._whole

    def _noise_weight(self, moments: Moments, parameters: MixtureParameters) -> float:
        """Return the weight of noise that the M-step makes."""
        if self.held is not NOTHING_HELD:
            return parameters.noise_weight
        if moments.noise == 0.0:
            return 0.0
        return moments.noise / (float(moments.mass.sum()) + moments.noise)

    def _rounding(self, means: Tensor) -> Tensor | None:
        """Return how coordinates near means are rounded, where that matters."""
        if self.rounding is None or self.ridge.size > 0 or not self.prior.selects:
            return None
        return self.rounding.near(means)

    def hold(self, parameters: MixtureParameters) -> MixtureParameters | None:
        """Return a start with the targets that its own covariances make.

        None if there are none.
        """
        targets = self.prior.renewed(parameters.covariances, parameters.weights)
        return None if targets is None else replace(parameters, targets=targets)

    def renewed(self, state: State) -> State | None:
        """Return the state with the targets that the data now make.

        None if there are none, or they would hardly move.
        """
        parameters = self.with_targets(state.parameters, state.moments)
        if parameters is None:
            return None
        penalty = self.penalty(parameters)
        return replace(state, parameters=parameters, penalty=penalty)

    def with_targets(
        self, parameters: MixtureParameters, moments: Moments
    ) -> MixtureParameters | None:
        """Return the parameters with the targets that moments about their means make.

        None if there are none, or they would hardly move.
        """
        if not self.prior.pools:
            return None
        moments = above_mass_floor(moments, self._mean_weight)
        fractions = self._fractions(moments)
        _, scatter, _ = self._maximization.scattered(moments, parameters.means)
        targets, held = self.prior.renewed(scatter, fractions), parameters.targets
        if targets is None or (held and targets.distance(held) < _HARDLY):
            return None
        return replace(parameters, targets=targets)

    # -- other numbers of components -----------------------------------------------

    @property
    def edits(self) -> MixtureEdits:
        """What makes mixtures of other components."""
        return MixtureEdits(self)

    def unselective(self) -> MixtureObjective:
        """Return the cost without priors under which components leave."""
        return replace(self, prior=self.prior.unselective())

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""
        kept = without_components(self.covariance, parameters, dropped)
        return replace(kept, weights=self.held.share * kept.weights)

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
        logits : Tensor of shape (M,) or (M + 1,)
            Unnormalised log-weights, that of noise last.
        means : Tensor of shape (M, D)
        factors : Tensor
            Any square factors of the precisions, in the structure's shape.
        fractions : Tensor of shape (M,), default=None
            Masses to hold constant in the ridge; None takes those found here.
        targets : Targets, default=None
            Of the covariances, held.
        """
        log_weights, log_proportions, log_noise = log_weights_of(
            self.prior, logits, len(means)
        )
        components = self.covariance.components(log_proportions, means, factors)
        total, mass = LogLikelihood.apply(
            components.offsets,
            components.means,
            components.factors,
            log_noise,
            self.covariance,
            self.reductions,
        )
        log_likelihood = total / self.total_weight
        traces = self.covariance.precision_traces(
            factors, means.shape[1], self.ridge.profile
        )
        found = mass / self.total_weight
        held = found if fractions is None else fractions
        raised = 0.5 * self.ridge.size * (held * traces).sum()
        unknowns = Unknowns(log_weights.exp(), means, factors, targets)
        cost = self.prior.value(unknowns) - log_likelihood
        return CostTerms(cost, raised, log_likelihood, found)

    def priced(self, price: float) -> MixtureObjective:
        """Return the cost with a price for each component."""
        priors = Priors(self.prior, ComponentPrice(price))
        return replace(self, prior=priors)

    def beside(self, reductions: Beside, held: Held) -> MixtureObjective:
        """Return the same cost with other components held, on samples of one's own."""
        # What is asked of the reductions of a part is moments.
        return replace(self, reductions=cast(Reductions, reductions), held=held)

    def near(self, parameters: MixtureParameters) -> WhitenedChart:
        """Return the cost on the mixtures around `parameters`, well scaled."""
        return WhitenedChart(self, parameters)

    def batches(
        self, batch_size: int | None, random_state: RandomState
    ) -> Iterator[tuple[float, MixtureObjective]]:
        """Yield objectives on parts of the data, each with its share of all of it.

        The rows are shuffled and split into the fewest parts of at most
        `batch_size` rows, their sizes as even as can be. Each estimates the whole
        without bias: the mean over the batches, weighted by their sizes, of costs
        and gradients is that of all the data.
        """
        n_samples = self.reductions.n_samples
        if batch_size is None or batch_size >= n_samples:
            yield 1.0, self
            return
        n_batches = -(-n_samples // batch_size)
        for rows in np.array_split(random_state.permutation(n_samples), n_batches):
            share = len(rows) / n_samples
            batch = replace(
                self,
                reductions=self.reductions.of_rows(torch.from_numpy(rows)),
                total_weight=self.total_weight * share,
            )
            yield share, batch

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
        logits = logits.detach()
        parameters = MixtureParameters(
            torch.softmax(self.prior.logits(logits[: len(means)]), 0),
            means.detach().clone(),
            self.covariance.covariances(triangle),
            triangle,
            targets,
            float(torch.softmax(logits, 0)[len(means) :].sum()),
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
        n_samples = self.reductions.n_samples
        self.covariance.factors(parameters.covariances)
        if has_collapsed(self.covariance, parameters, start, n_samples):
            raise ValueError(ILL_DEFINED)

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
