"""Components on so few samples that the likelihood has no maximum there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._fit._additions import by_chance, changes_by
from sklearn_keops_gmm._fit._collapse import variances_of
from sklearn_keops_gmm._fit._local import PartableObjective, log_densities
from sklearn_keops_gmm._model import (
    MixtureParameters,
    State,
    on_few_samples,
    select_components,
)
from sklearn_keops_gmm.solvers import check_finite

# A ridge above this part of a variance bounds what a narrow component gains.
_LARGE = 0.1


class Reducible(PartableObjective, Protocol):
    """What is asked of the objective here."""

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""


@dataclass(frozen=True)
class WeakComponents:
    """Components on few samples of a cost.

    Parameters
    ----------
    objective : MixtureObjective
    """

    objective: Reducible

    def count(self, state: State) -> int:
        """Count the components on fewer samples than features plus one."""
        n_features = state.parameters.means.shape[1]
        return int(on_few_samples(self._sizes(state), n_features).sum())

    def left_out(self, state: State) -> MixtureParameters | None:
        """Return the mixture without what only luck pays for, or half of these.

        What a component gains whose covariance is singular, or nearly, says which
        samples it has found. Those stay that would pay with a covariance like that of
        the others too: they are far from all else. None if there are none to leave
        out, or the cost is bounded.
        """
        objective, whole = self.objective, state.parameters
        prior, shared = objective.prior, objective.covariance.shared
        if shared or prior.pools or not prior.selects:
            return None
        sizes = self._sizes(state)
        weak = sizes < self._least(whole.means.shape[1])
        if bool(weak.all()) or not bool(weak.any()):
            return None
        if not objective.reductions.in_memory:
            return None
        usual = self._with_usual_covariances(state)
        if self._is_bounded(usual):
            return None
        luck = self._are_luck(state, weak, usual)
        if not bool(luck.any()):
            return None
        # Others may grow when half of them are gone.
        smallest = torch.where(luck, sizes, torch.inf).argsort(stable=True)
        dropped = torch.zeros_like(luck)
        dropped[smallest[: -(-int(luck.sum()) // 2)]] = True
        return objective.without(whole, dropped)

    def _is_bounded(self, usual: MixtureParameters) -> bool:
        """Tell whether what is added to variances is a part of usual ones."""
        variances = variances_of(self.objective.covariance, usual)
        return bool((self.objective.ridge.amounts > _LARGE * variances).any())

    def _are_luck(self, state: State, weak: Tensor, usual: MixtureParameters) -> Tensor:
        """Tell, (M,) bool, which of the `weak` would not pay with usual covariances."""
        objective, covariance = self.objective, self.objective.covariance
        rest = objective.without(state.parameters, weak)
        densities = log_densities(objective, rest)
        weights = objective.reductions.sample_weight
        counted = densities if weights is None else densities[weights > 0]
        # Without them some sample may be too far from all others.
        check_finite(float(counted.sum()))
        ones = [select_components(covariance, usual, j) for j in weak.nonzero()]
        changes = changes_by(objective, rest, densities, ones)
        least = by_chance(objective, rest.means.shape[1])
        luck = torch.zeros_like(weak)
        luck[weak] = torch.tensor(changes, device=weak.device) > -least
        return luck

    def _with_usual_covariances(self, state: State) -> MixtureParameters:
        """Return the mixture with covariances of one shape.

        Those of few samples are about as large as the others, too.
        """
        covariance, whole = self.objective.covariance, state.parameters
        sizes = self._sizes(state)
        targets = covariance.targets(whole.covariances, sizes, whole.means.shape[1])
        usual = targets.of_scales(targets.scales)
        factors = covariance.factors(usual)
        return replace(whole, covariances=usual, precisions_cholesky=factors)

    def _least(self, n_features: int) -> float:
        """Return the number of samples from which a covariance is definite."""
        return max(2.0, 2.0 * self.objective.covariance.pseudo_samples(n_features))

    def _sizes(self, state: State) -> Tensor:
        """Return the numbers of samples, (M,), of the components."""
        return state.moments.mass * self.objective.samples_a_weight
