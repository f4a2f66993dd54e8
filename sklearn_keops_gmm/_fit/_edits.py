"""Mixtures of other components than one has: merged, dropped, split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._fit._local import Field, PartableObjective
from sklearn_keops_gmm._model import (
    MixtureParameters,
    Moments,
    State,
    add_component,
    on_few_samples,
    select_components,
    split_component,
)


class Editable(PartableObjective, Protocol):
    """What edits ask of the objective."""

    @property
    def n_components(self) -> int:
        """The number of components at most."""

    def m_step(
        self,
        moments: Moments,
        parameters: MixtureParameters,
        *,
        merged: Tensor | None = None,
    ) -> MixtureParameters:
        """Return the M-step from moments about the means of `parameters`."""

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""

    def unselective(self) -> Any:
        """Return the cost without priors under which components leave."""


@dataclass(frozen=True)
class Uncharged:
    """A cost without what is charged for components.

    Parameters
    ----------
    whole : Editable
        The cost with it.
    objective : MixtureObjective
    """

    whole: Editable
    objective: Any

    def charged(self, state: State) -> State:
        """Return a state of it with what is charged for its components."""
        return replace(state, penalty=self.whole.penalty(state.parameters))


@dataclass(frozen=True)
class MixtureEdits:
    """What makes mixtures of other components, for moves.

    Parameters
    ----------
    objective : Editable
    """

    objective: Editable

    @property
    def n_components(self) -> int:
        """The number of components at most."""
        return self.objective.n_components

    @property
    def least_penalty(self) -> float:
        """The prior's term of the cost of a single component."""
        return self.objective.prior.least

    def merger_estimates(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """Estimate what the mergers of two neighbours change.

        Returns
        -------
        pairs : Tensor of shape (P, 2), int64
        losses : Tensor of shape (P,)
            A bound on the mean log-likelihood that is lost.
        penalty_decreases : Tensor of shape (P,)
            Of the prior's term of the cost.
        """
        weights = state.parameters.weights
        pairs = state.neighbours
        losses = self.merge_losses(state, pairs)
        return pairs, losses, self.objective.prior.decreases(weights, pairs)

    def merge_losses(self, state: State, pairs: Tensor) -> Tensor:
        """Return a bound, (P,), on the mean log-likelihood that mergers lose."""
        mass, parameters = state.moments.mass, state.parameters
        means, covariances = parameters.means, parameters.covariances
        covariance = self.objective.covariance
        fractions = mass / (mass.sum() + state.moments.noise)
        return covariance.merge_losses(fractions, means, covariances, pairs)

    def merged(self, state: State, pairs: Tensor) -> MixtureParameters:
        """Return the M-step in which each of disjoint `pairs`, (P, 2), is one."""
        covariance, parameters = self.objective.covariance, state.parameters
        labels = torch.arange(state.n_components, device=pairs.device)
        labels[pairs[:, 1]] = pairs[:, 0]
        kept, labels = labels.unique(return_inverse=True)
        moments, means = covariance.merge(
            state.moments, parameters.means, labels, len(kept)
        )
        weights = means.new_zeros(len(kept)).index_add_(0, labels, parameters.weights)
        unions = select_components(covariance, parameters, kept)
        unions = replace(unions, weights=weights, means=means)
        union = torch.zeros(len(kept), dtype=torch.bool, device=pairs.device)
        union[labels[pairs[:, 0]]] = True
        return self.objective.m_step(moments, unions, merged=union)

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""
        return self.objective.without(parameters, dropped)

    def split(self, parameters: MixtureParameters, j: int) -> MixtureParameters:
        """Return the mixture with component `j` as two halves side by side."""
        return split_component(self.objective.covariance, parameters, j)

    def uncharged(self) -> Uncharged:
        """Return the cost without what is charged for components."""
        return Uncharged(self.objective, self.objective.unselective())

    def additions(
        self, state: State, pool: Sequence[MixtureParameters], n_best: int
    ) -> list[MixtureParameters]:
        """Return the mixtures with one component of a pool more that cost least.

        That is as they are, before any step. None where components share a covariance,
        or samples are not in memory.
        """
        objective = self.objective
        if not pool or objective.covariance.shared:
            return []
        if not objective.reductions.in_memory:
            return []
        components = objective.components(state.parameters)
        densities = objective.reductions.log_density(components).double()
        found = [
            select_components(objective.covariance, parameters, places)
            for parameters in pool
            for places in parameters.weights.argsort(descending=True)[:, None]
        ]
        found.sort(key=lambda one: self._change(state, densities, one))
        whole, covariance = state.parameters, objective.covariance
        return [add_component(covariance, whole, one) for one in found[:n_best]]

    def _change(self, state: State, densities: Tensor, one: MixtureParameters) -> float:
        """Return by how much a component changes the cost.

        Parameters
        ----------
        state : State
        densities : Tensor of shape (N,)
            Logarithms, of the mixture without it.
        one : MixtureParameters
        """
        objective = self.objective
        found = add_component(objective.covariance, state.parameters, one)
        share = found.weights[-1]
        own = replace(one, weights=found.weights[-1:], noise_weight=0.0)
        own_densities = objective.reductions.log_density(objective.components(own))
        others = densities + torch.log1p(-share)
        gains = torch.logaddexp(others, own_densities.double()) - densities
        weights = objective.reductions.sample_weight
        gain = gains.sum() if weights is None else weights.double() @ gains
        risen = objective.penalty(found) - state.penalty
        return risen - float(gain) / objective.total_weight

    def n_weak(self, state: State) -> int:
        """Count the components on fewer samples than features plus one."""
        mass = state.moments.mass
        n_samples = self.objective.reductions.n_samples
        counts = mass * (n_samples / self.objective.total_weight)
        return int(on_few_samples(counts, state.parameters.means.shape[1]).sum())

    def field(self, state: State) -> Field | None:
        """Return a mixture as what can be changed in parts.

        None where components share a covariance, or samples are not in memory.
        """
        objective = self.objective
        if objective.covariance.shared or not objective.reductions.in_memory:
            return None
        pairs, losses, _ = self.merger_estimates(state)
        return Field.of(objective, state, pairs, losses)
