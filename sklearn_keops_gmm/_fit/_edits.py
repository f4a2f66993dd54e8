"""Mixtures of other components than one has: merged, dropped, split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._fit._additions import Extensible, additions
from sklearn_keops_gmm._fit._local import Field, Held
from sklearn_keops_gmm._fit._weak import Reducible, WeakComponents
from sklearn_keops_gmm._model import (
    MixtureParameters,
    Moments,
    State,
    select_components,
    split_component,
    spreads_of,
)


class Editable(Extensible, Reducible, Protocol):
    """What edits ask of the objective."""

    @property
    def n_components(self) -> int:
        """The number of components at most."""

    @property
    def held(self) -> Held:
        """What all other components make of the cost, if these are a part."""

    def m_step(
        self,
        moments: Moments,
        parameters: MixtureParameters,
        *,
        merged: Tensor | None = None,
    ) -> MixtureParameters:
        """Return the M-step from moments about the means of `parameters`."""

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

    def single(self, state: State) -> MixtureParameters:
        """Return the M-step in which all components are one."""
        labels = torch.zeros_like(state.parameters.weights, dtype=torch.int64)
        found: MixtureParameters = self.objective.edits.united(state, labels)
        return found

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
        labels = torch.arange(state.n_components, device=pairs.device)
        labels[pairs[:, 1]] = pairs[:, 0]
        return self.united(state, labels)

    def united(self, state: State, labels: Tensor) -> MixtureParameters:
        """Return the M-step in which components of the same label, (M,), are one."""
        covariance, parameters = self.objective.covariance, state.parameters
        kept, labels, sizes = labels.unique(return_inverse=True, return_counts=True)
        moments, means = covariance.merge(
            state.moments, parameters.means, labels, len(kept)
        )
        weights = means.new_zeros(len(kept)).index_add_(0, labels, parameters.weights)
        unions = select_components(covariance, parameters, kept)
        unions = replace(unions, weights=weights, means=means)
        return self.objective.m_step(moments, unions, merged=sizes > 1)

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""
        return self.objective.without(parameters, dropped)

    def split(self, parameters: MixtureParameters, j: int) -> MixtureParameters:
        """Return the mixture with component `j` as two halves side by side."""
        covariance, spreads = self.objective.covariance, self.objective.held.spreads
        if spreads is None:  # nothing is held: these components are the whole mixture
            spreads = spreads_of(covariance, parameters)
        return split_component(covariance, parameters, j, spreads)

    def uncharged(self) -> Uncharged:
        """Return the cost without what is charged for components."""
        return Uncharged(self.objective, self.objective.unselective())

    def additions(
        self, state: State, pool: Sequence[MixtureParameters], n_best: int
    ) -> list[MixtureParameters]:
        """Return the mixtures with one component more that cost least.

        That is as they are, before any step. Components are those of a pool, and groups
        of neighbouring samples. None without a pool, where components share a
        covariance, or samples are not in memory.
        """
        return additions(self.objective, state, pool, n_best)

    @property
    def weak(self) -> WeakComponents:
        """Components on too few samples to tell a covariance."""
        return WeakComponents(self.objective)

    def field(self, state: State) -> Field | None:
        """Return a mixture as what can be changed in parts.

        None where components share a covariance, or samples are not in memory.
        """
        objective = self.objective
        if objective.covariance.shared or not objective.reductions.in_memory:
            return None
        pairs, losses, _ = self.merger_estimates(state)
        return Field.of(objective, state, pairs, losses)
