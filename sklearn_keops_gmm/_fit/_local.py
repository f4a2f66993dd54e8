"""Some components of a mixture, on the samples that they own, with all else held.

Moves touch few components: a merger two, a split one. What they do to the cost is found
on the samples that those components explain, while what the other components make of
the density of each is held. It is a part of one E-step, however many there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._model import (
    Components,
    MixtureParameters,
    Moments,
    Prior,
    Ridge,
    State,
    neighbouring_pairs_of,
    select_components,
    spreads_of,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure
from sklearn_keops_gmm.backends import Beside, Reductions, rows_above

# The responsibility from which a sample is a component's own.
_OWN = 1e-6
# The least part of a density that others can have: rounding leaves no less.
_LEAST = 1e-14


class PartableObjective(Protocol):
    """What a field asks of the objective."""

    @property
    def total_weight(self) -> float:
        """The sum of the sample weights."""

    @property
    def samples_a_weight(self) -> float:
        """How many samples, that say as much as equal ones, are in a weight of 1."""

    @property
    def covariance(self) -> CovarianceStructure:
        """The structure of the covariances."""

    @property
    def prior(self) -> Prior:
        """The term of the cost that does not depend on the data."""

    @property
    def reductions(self) -> Reductions:
        """The data, bound to a backend."""

    @property
    def ridge(self) -> Ridge:
        """What is added to variances."""

    @property
    def edits(self) -> Any:
        """What makes mixtures of other components."""

    def components(self, parameters: MixtureParameters) -> Components:
        """Return what the backend needs to know of `parameters`."""

    def penalty(self, parameters: MixtureParameters) -> float:
        """Return the term of the cost that does not depend on the data."""

    def beside(self, reductions: Beside, held: Held) -> Any:
        """Return the same cost with other components held."""


@dataclass(frozen=True)
class Held:
    """What components that are held make of the cost.

    Attributes
    ----------
    share : float
        What the weights of all others sum to.
    log_likelihood : float
        Summed over samples that only they explain.
    penalty : float
        Their part of the prior's term.
    noise_weight : float
        Of noise, which is held too.
    spreads : Tensor of shape (D,) or None
        Standard deviations of the features of the whole mixture.
    """

    share: float = 1.0
    log_likelihood: float = 0.0
    penalty: float = 0.0
    noise_weight: float = 0.0
    spreads: Tensor | None = None


NOTHING_HELD = Held()


@dataclass(frozen=True)
class Part:
    """Some components, to be changed.

    Attributes
    ----------
    chosen : Tensor of shape (K,), int64
        Which of all components.
    rows : Tensor of shape (n,), int64
        The samples that they own.
    beside : Beside
        These, with what else explains them.
    objective : MixtureObjective
        Of the part. Costs are those of the whole mixture, to be compared with others.
    state : State
        As they are.
    """

    chosen: Tensor
    rows: Tensor
    beside: Beside
    objective: Any
    state: State


@dataclass(frozen=True)
class Field:
    """A mixture with the log-density of each sample, for what changes a part of it.

    Attributes
    ----------
    objective : MixtureObjective
    state : State
    log_densities : Tensor of shape (N,), float64
    pairs : Tensor of shape (P, 2), int64
        Of neighbours.
    losses : Tensor of shape (P,)
        A bound on the mean log-likelihood that their mergers lose.
    """

    objective: PartableObjective
    state: State
    log_densities: Tensor
    pairs: Tensor
    losses: Tensor

    @classmethod
    def of(
        cls, objective: PartableObjective, state: State, pairs: Tensor, losses: Tensor
    ) -> Field:
        """Return the field of a mixture; it takes a pass through the samples."""
        densities = log_densities(objective, state.parameters)
        return cls(objective, state, densities, pairs, losses)

    def merger_estimates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs of components, and what their mergers change.

        That is the likelihood that each loses, and by how much the penalty decreases.
        """
        weights = self.state.parameters.weights
        decreases = self.objective.prior.decreases(weights, self.pairs)
        return self.pairs, self.losses, decreases

    @cached_property
    def _spreads(self) -> Tensor:
        """The spreads of the mixture, (D,), which all of its parts are told."""
        return spreads_of(self.objective.covariance, self.state.parameters)

    def part(self, chosen: Tensor) -> Part:
        """Return some components, (K,), on the samples that they own."""
        objective, state = self.objective, self.state
        own = select_components(objective.covariance, state.parameters, chosen)
        components = replace(objective.components(own), noise_weight=0.0)
        floors = self.log_densities + math.log(_OWN)
        rows, densities = rows_above(objective.reductions, components, floors)
        here = self.log_densities[rows]
        rest = (1.0 - (densities - here).exp()).clamp_min(_LEAST).log()
        reductions = objective.reductions.of_rows(rows)
        weights = reductions.sample_weight
        total = float(here.sum() if weights is None else weights.double() @ here)
        whole = state.log_likelihood * objective.total_weight
        elsewhere = state.penalty - objective.penalty(own)
        held = Held(
            float(own.weights.sum()),
            whole - total,
            elsewhere,
            own.noise_weight,
            self._spreads,
        )
        beside = Beside(reductions, here + rest, objective.reductions.n_samples)
        local = objective.beside(beside, held)
        moments = objective.covariance.select_moments(state.moments, chosen)
        moments = replace(moments, log_likelihood=total)
        now = State(own, moments, state.log_likelihood, state.penalty)
        return Part(chosen, rows, beside, local, now)

    def replaced(self, part: Part, state: State) -> Field:
        """Return the field with a part in another state, whose components are last."""
        whole, covariance = self.state, self.objective.covariance
        others = torch.ones_like(whole.parameters.weights, dtype=torch.bool)
        others[part.chosen] = False
        parameters = _joined_parameters(
            select_components(covariance, whole.parameters, others), state.parameters
        )
        moments = _joined_moments(
            covariance.select_moments(whole.moments, others), state.moments
        )
        total = state.log_likelihood * self.objective.total_weight
        moments = replace(moments, log_likelihood=total)
        joined = State(parameters, moments, state.log_likelihood, state.penalty)
        components = part.objective.components(state.parameters)
        densities = self.log_densities.clone()
        densities[part.rows] = part.beside.log_density(components)
        pairs, losses = self._estimates_of(joined, others)
        return Field(self.objective, joined, densities, pairs, losses)

    def _estimates_of(self, state: State, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return pairs and losses where components but those `kept`, (M,), are new."""
        places = kept.cumsum(0) - 1
        stay = kept[self.pairs].all(1)
        pairs, losses = places[self.pairs[stay]], self.losses[stay]
        n_kept = int(kept.sum())
        last = torch.arange(n_kept, state.n_components, device=kept.device)
        if state.n_components < 2 or not len(last):
            return pairs, losses
        added = neighbouring_pairs_of(last, state.parameters.means)
        found = self.objective.edits.merge_losses(state, added)
        return torch.cat((pairs, added)), torch.cat((losses, found))


def log_densities(
    objective: PartableObjective, parameters: MixtureParameters
) -> Tensor:
    """Return the log-density of each sample, (N,), float64."""
    components = objective.components(parameters)
    return objective.reductions.log_density(components).double()


def _joined_parameters(
    first: MixtureParameters, last: MixtureParameters
) -> MixtureParameters:
    """Return the components of both."""
    targets = first.targets
    if targets is not None and last.targets is not None:
        scales = torch.cat((targets.scales, last.targets.scales))
        targets = replace(targets, scales=scales)
    return MixtureParameters(
        torch.cat((first.weights, last.weights)),
        torch.cat((first.means, last.means)),
        torch.cat((first.covariances, last.covariances)),
        torch.cat((first.precisions_cholesky, last.precisions_cholesky)),
        targets,
        first.noise_weight,
    )


def _joined_moments(first: Moments, last: Moments) -> Moments:
    return Moments(
        torch.cat((first.mass, last.mass)),
        torch.cat((first.first, last.first)),
        torch.cat((first.second, last.second)),
        0.0,
        noise=first.noise,
        noise_log_density=first.noise_log_density,
    )
