"""Mixtures of other components than one has: merged, dropped, split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._fit._local import Field, PartableObjective
from sklearn_keops_gmm._model import (
    MixtureParameters,
    Moments,
    State,
    neighbouring_pairs,
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
        pairs = neighbouring_pairs(state.parameters.means)
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
