"""Components that a mixture might have beside its own, and what they change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._fit._groups import Groups
from sklearn_keops_gmm._fit._local import PartableObjective, log_densities
from sklearn_keops_gmm._model import (
    MixtureParameters,
    State,
    add_component,
    select_components,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure
from sklearn_keops_gmm.backends import rows_above

# So many times as many groups as components are wanted are looked at more closely.
_GROUPS = 2
# The logarithm of a share that adds nothing to one.
_NOTHING = -37.0
# Two are alike that lose less by a merger, in nats for each of their samples.
_ALIKE = 0.1


class Extensible(PartableObjective, Protocol):
    """What is asked of the objective here."""

    @property
    def groups(self) -> Groups | None:
        """What finds components that a mixture lacks."""


def additions(
    objective: Extensible,
    state: State,
    pool: Sequence[MixtureParameters],
    n_best: int,
) -> list[MixtureParameters]:
    """Return the mixtures with one component more that cost least, before any step.

    Parameters
    ----------
    objective : MixtureObjective
    state : State
    pool : sequence of MixtureParameters
        Mixtures whose components may be added, beside groups of samples.
    n_best : int
    """
    if not pool or objective.covariance.shared or not objective.reductions.in_memory:
        return []
    covariance, whole = objective.covariance, state.parameters
    densities = log_densities(objective, whole)
    found = _groups(objective, state, densities, _GROUPS * n_best)
    for parameters in pool:
        order = parameters.weights.argsort(descending=True)
        found += [select_components(covariance, parameters, j) for j in order[:, None]]
    changes = changes_by(objective, whole, densities, found)
    cheapest = sorted(range(len(found)), key=changes.__getitem__)
    best = _distinct(covariance, (found[j] for j in cheapest), n_best)
    return [add_component(covariance, whole, one) for one in best]


def _distinct(
    covariance: CovarianceStructure, found: Iterable[MixtureParameters], n_best: int
) -> list[MixtureParameters]:
    """Return the first of mixtures of one component that are not like one before."""
    kept: list[MixtureParameters] = []
    for one in found:
        if len(kept) == n_best:
            break
        means = torch.cat([one.means, *(other.means for other in kept)])
        covariances = torch.cat(
            [one.covariances, *(other.covariances for other in kept)]
        )
        others = torch.arange(1, len(means), device=means.device)
        pairs = torch.stack((torch.zeros_like(others), others), dim=1)
        halves = torch.full_like(means[:, 0], 0.5)
        losses = covariance.merge_losses(halves, means, covariances, pairs)
        if not bool((losses < _ALIKE).any()):
            kept.append(one)
    return kept


def changes_by(
    objective: PartableObjective,
    whole: MixtureParameters,
    densities: Tensor,
    ones: Sequence[MixtureParameters],
) -> list[float]:
    """Return by how much each of some components changes the cost.

    Parameters
    ----------
    objective : MixtureObjective
    whole : MixtureParameters
    densities : Tensor of shape (N,)
        Logarithms, of the mixture without them.
    ones : sequence of MixtureParameters
    """
    reductions, penalty = objective.reductions, objective.penalty(whole)
    changes = []
    for one in ones:
        found = add_component(objective.covariance, whole, one)
        own = replace(one, weights=found.weights[-1:], noise_weight=0.0)
        lost = float(torch.log1p(-found.weights[-1]))
        # Elsewhere only the weight is lost that others had.
        floors = densities + (lost + _NOTHING)
        near, ahead = rows_above(reductions, objective.components(own), floors)
        ahead = ahead - densities[near] - lost
        gains = torch.logaddexp(ahead, ahead.new_zeros(()))
        weights = reductions.sample_weight
        gain = gains.sum() if weights is None else weights[near].double() @ gains
        risen = objective.penalty(found) - penalty
        changes.append(risen - lost - float(gain) / objective.total_weight)
    return changes


def _groups(
    objective: Extensible, state: State, densities: Tensor, n_best: int
) -> list[MixtureParameters]:
    """Return groups of samples as components, those that change the cost most."""
    if objective.groups is None:
        return []
    covariance, whole = objective.covariance, state.parameters
    labels = objective.reductions.labels(objective.components(whole))
    least = by_chance(objective, whole.means.shape[1])
    found = []
    ridge = objective.ridge.amounts
    for some in objective.groups.find(whole, labels, densities, ridge):
        paying = [j for j, gain in enumerate(some.gains.tolist()) if gain > least]
        if paying:
            # Groups of one size cost the same, or nearly.
            one = select_components(covariance, some.parameters, torch.tensor([0]))
            price = objective.penalty(add_component(covariance, whole, one))
            found += [(price - float(some.gains[j]), some, j) for j in paying]
    found.sort(key=lambda one: one[0])
    ones = (
        select_components(covariance, some.parameters, torch.tensor([j]))
        for _, some, j in found
    )
    return _distinct(covariance, ones, n_best)


def by_chance(objective: PartableObjective, n_features: int) -> float:
    """Return the mean log-likelihood that the best of many groups gains by chance.

    At most about: it is what BIC charges for a component.
    """
    n_samples = objective.samples_a_weight * objective.total_weight
    of_covariance = objective.covariance.n_parameters(1, n_features)
    n_parameters = 1 + n_features + of_covariance
    return 0.5 * n_parameters * math.log(n_samples) / n_samples
