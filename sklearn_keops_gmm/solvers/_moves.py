"""Discrete moves out of the local minima of penalised EM.

A weight of zero is a local minimum whatever the data, and two strong components
that could be one do not meet by small steps. So once EM has converged, mixtures with
other components are candidates: with two merged, with one dropped, with two merged
and another split. An estimate from the moments ranks them, a few EM steps show what
they promise, and one is kept only if its cost is lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters, SolverResult, State
from sklearn_keops_gmm.solvers._descent import advance, rises, settle
from sklearn_keops_gmm.solvers._protocol import (
    Objective,
    OnStep,
    SolverSettings,
    computed,
)

# So many EM steps show what a candidate promises.
_TRIAL_STEPS = 3
# So many of a kind are tried, the best by their estimates.
_N_CANDIDATES = 3
# So many reductions in a row are tried before one of them pays.
_DEPTH = 3
# At most so many times the number of components is a split accepted.
_ROUNDS = 2
# A mixture has converged when this part of tol is left to gain.
_CONVERGED = 0.01

Candidate = Callable[[], MixtureParameters]


def improve(
    objective: Objective,
    result: SolverResult,
    settings: SolverSettings,
    on_step: OnStep,
) -> SolverResult:
    """Continue a result of EM by moves until none lowers the cost.

    ``max_iter`` bounds each stretch of EM, not their sum. The steps of candidates
    that are not kept are not part of the result.
    """
    if settings.max_iter == 0:
        return result
    search = Search(objective, settings)
    chain = [objective.evaluate(result.parameters)]
    converged = search.descend(chain)
    for _ in range(_ROUNDS * objective.edits.n_components):
        better = search.try_splits(chain[-1]) if converged else []
        if not better:
            break
        chain += better
        converged = search.descend(chain)
    return _continued(result, chain, converged, on_step)


@dataclass(frozen=True)
class Search:
    """Moves on one objective."""

    objective: Objective
    settings: SolverSettings

    # -- which mixtures to try ------------------------------------------------------

    def mergers(self, state: State) -> Iterator[Candidate]:
        """Merge all disjoint pairs whose union pays.

        The penalty then decreases by more than likelihood can be lost.
        """
        pairs, changes = self._ranked_pairs(state)
        paying = _disjoint(pairs[changes < 0])
        if len(paying) > 1:
            yield partial(self._merged, state, paying)

    def unions(self, state: State, n_candidates: int) -> Iterator[Candidate]:
        """Merge one of the best pairs."""
        for pair in self._ranked_pairs(state)[0][:n_candidates]:
            yield partial(self._merged, state, pair[None])

    def reductions(self, state: State) -> Iterator[Candidate]:
        """Merge one of the best pairs, or drop one of their members."""
        pairs = self._ranked_pairs(state)[0][:_N_CANDIDATES]
        for pair in pairs:
            yield partial(self._merged, state, pair[None])
        for j in pairs.unique().tolist():
            yield partial(self._without, state, j)

    def splits(self, state: State) -> Iterator[Candidate]:
        """Split one of the heaviest components, after merging the best pair or not."""
        wholes = [merged for merged in map(_made, self.unions(state, 1)) if merged]
        if state.n_components < self.objective.edits.n_components:
            wholes.append(state.parameters)
        for whole in wholes:
            for j in whole.weights.argsort(descending=True)[:_N_CANDIDATES].tolist():
                yield partial(self.objective.edits.split, whole, j)

    def _ranked_pairs(self, state: State) -> tuple[Tensor, Tensor]:
        """Return pairs of components, (P, 2), and what merging changes, (P,)."""
        if state.n_components == 1:
            return torch.empty((0, 2), dtype=torch.int64), torch.empty(0)
        pairs, losses, decreases = self.objective.edits.merger_estimates(state)
        changes, order = (losses - decreases).sort(stable=True)
        return pairs[order], changes

    def _merged(self, state: State, pairs: Tensor) -> MixtureParameters:
        return self.objective.edits.merged(state, pairs)

    def _without(self, state: State, j: int) -> MixtureParameters:
        dropped = torch.zeros_like(state.parameters.weights, dtype=torch.bool)
        dropped[j] = True
        return self.objective.edits.without(state.parameters, dropped)

    # -- what comes of them -----------------------------------------------------------

    def descend(self, chain: list[State]) -> bool:
        """Extend a chain by EM and moves to fewer components until it converges.

        What is left of a descent may make a move pay that did not before. None ends
        above where it started: with `reg_covar` steps of EM can raise the cost, and
        what a move has gained could be lost again.
        """
        # Moves compare totals: over many samples a small mean is a large one.
        tol = min(self.settings.tol, self.settings.nat)
        rest = min(_CONVERGED * self.settings.tol, self.settings.nat)
        while True:
            while better := self._fewer(chain[-1]):
                chain += better
            before, length = chain[-1].cost, len(chain)
            converged = self.settle(chain, rest)
            while len(chain) > length and rises(chain[length - 1], chain[-1]):
                chain.pop()
            if not converged or before - chain[-1].cost <= tol:
                return converged

    def _fewer(self, state: State) -> list[State]:
        """Return the states below `state` that moves to fewer components lead to."""
        return self.merge_all_paying(state) or self.try_reductions(state)

    def merge_all_paying(self, state: State) -> list[State]:
        """Return the states below `state` that merging all pairs that pay leads to."""
        target = self._below(state)
        return self._winner(self.trials(self.mergers(state), target), target)

    def try_reductions(self, state: State) -> list[State]:
        """Return the states below `state` that reductions, one or a few, lead to.

        Where one does not pay, two may: the prior charges the first of many
        components less than the first of two.
        """
        target = self._below(state)
        for _ in range(_DEPTH):
            trials = self.trials(self.reductions(state), target)
            better = self._winner(trials, target)
            if better or not trials:
                return better
            state = min((trial[-1] for trial in trials), key=lambda state: state.cost)
            if self.objective.edits.least_penalty - state.log_likelihood >= target:
                break
        return []

    def try_splits(self, state: State) -> list[State]:
        """Return the states below `state` that splitting a component leads to."""
        target = self._below(state)
        return self._winner(self.trials(self.splits(state), target), target)

    def _below(self, state: State) -> float:
        """Return the cost from which a candidate of `state` has won."""
        rounding = 1e-10 * max(1.0, abs(state.cost))
        return state.cost - max(0.1 * self.settings.tol, rounding)

    def trials(
        self,
        candidates: Iterator[Candidate],
        target: float = -math.inf,
        n_steps: int = _TRIAL_STEPS,
    ) -> list[list[State]]:
        """Return the first steps of each candidate that does not collapse."""
        trials = (self._trial(candidate, target, n_steps) for candidate in candidates)
        return [trial for trial in trials if trial]

    def _trial(self, candidate: Candidate, target: float, n_steps: int) -> list[State]:
        try:
            chain = [self.objective.evaluate(candidate())]
            while len(chain) <= n_steps and chain[-1].cost >= target:
                chain.append(advance(self.objective, chain[-1]))
        except ValueError:
            return []
        return chain

    def _winner(self, trials: list[list[State]], target: float) -> list[State]:
        """Continue the best trials until one is below `target` or none can be."""
        for trial in sorted(trials, key=lambda trial: trial[-1].cost):
            if trial[-1].cost >= target:
                self.settle(trial, self.settings.tol, target)
            if trial[-1].cost < target:
                return [state for state in trial if state.cost < target]
        return []

    def settle(self, chain: list[State], tol: float, target: float = math.inf) -> bool:
        """Extend a chain by EM until it converges or a component collapses."""
        try:
            return settle(self.objective, chain, tol, self.settings.max_iter, target)
        except ValueError:
            return False


def _made(candidate: Candidate) -> MixtureParameters | None:
    """Return the mixture to try, or None if a component of it is singular."""
    try:
        return candidate()
    except ValueError:
        return None


def _disjoint(pairs: Tensor) -> Tensor:
    """Keep the pairs, (P, 2), that share no component with one before them."""
    taken: set[int] = set()
    kept = []
    for i, j in pairs.tolist():
        if not taken & {i, j}:
            taken |= {i, j}
            kept.append((i, j))
    return torch.tensor(kept, dtype=torch.int64, device=pairs.device).reshape(-1, 2)


def _continued(
    result: SolverResult, chain: list[State], converged: bool, on_step: OnStep
) -> SolverResult:
    """Return the result of EM with the states that were kept after it.

    A result holds costs of what its steps started from, and the mixture after the
    last of them: that is the last state.
    """
    costs, log_likelihoods = list(result.costs), list(result.log_likelihoods)
    parameters = chain[-1].parameters
    for before, after in pairwise(chain):
        fall = costs[-1] - before.cost
        costs.append(before.cost)
        log_likelihoods.append(before.log_likelihood)
        done = after is chain[-1]
        if on_step(len(costs), fall, computed(after.parameters), done):
            parameters, converged = after.parameters, converged and done
            break
    return SolverResult(parameters, tuple(costs), tuple(log_likelihoods), converged)
