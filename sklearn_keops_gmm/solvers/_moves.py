"""Discrete moves out of the local minima of penalised EM.

A weight of zero is a local minimum whatever the data, and two strong components
that could be one do not meet by small steps. So once EM has converged, mixtures with
other components are candidates: with two merged, with one dropped, with one split or
added, with two merged and another split. An estimate ranks them, a few EM steps show
what they promise, and one is kept only if its cost is lower.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters, State
from sklearn_keops_gmm.solvers._descent import rises, settle_or_stay
from sklearn_keops_gmm.solvers._positions import (
    Move,
    Position,
    WholePosition,
    drop,
    merge,
    position_of,
    replacing,
    split,
)
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings

# So many EM steps show what a candidate promises.
_TRIAL_STEPS = 3
# So many of a kind are tried, the best by their estimates; of splits so many where each
# takes but a part of the mixture.
_N_CANDIDATES, _N_LOCAL_SPLITS = 3, 32
# So many components of a pool and groups are tried: what they gain at once says little
# of what they gain when all others have given way. Each first has so many steps without
# sparsity; and of those that do not pay, reductions are tried after so many.
_N_ADDITIONS, _FREE_STEPS, _N_MADE_UP_FOR = 20, 3, 6
# So many splits, of so many mixtures with two merged: after a path, which has looked
# for both already, and where moves are all that leads out of an optimum.
_N_SPLITS, _N_UNIONS = (3, 16), (1, 3)
# So many reductions in a row are tried before one of them pays.
_DEPTH = 3
# One in so many components is merged before all samples are looked at again.
_STRETCH = 5
# At most so many times the number of components is a split accepted, or a descent
# continued.
_ROUNDS = 2
# A mixture has converged when this part of tol is left to gain.
_CONVERGED = 0.01


@dataclass(frozen=True)
class Search:
    """Moves on one objective.

    Parameters
    ----------
    objective : Objective
    settings : SolverSettings
    pool : tuple of MixtureParameters
        Mixtures whose components may be added, if any.
    """

    objective: Objective
    settings: SolverSettings
    pool: tuple[MixtureParameters, ...] = ()

    @property
    def swaps(self) -> bool:
        """Whether fewer components are no cheaper."""
        return self.objective.edits.least_penalty == 0

    def improve(self, chain: list[State], converged: bool) -> bool:
        """Extend a chain that reductions do not lower by moves until none does.

        Returns
        -------
        converged : bool
        """
        for _ in range(_ROUNDS * self.objective.edits.n_components):
            better = self.try_splits(chain[-1]) or self.try_additions(chain[-1])
            if not better:
                break
            target = self.below(chain[-1])
            chain += better
            converged = self.descend(chain)
            # What only luck pays for is left out again, and would be found again.
            if chain[-1].cost >= target:
                break
        return converged

    # -- which mixtures to try ------------------------------------------------------

    def reductions(self, position: Position) -> Iterator[Move]:
        """Merge one of the best pairs, or drop one of their members."""
        pairs = ranked_pairs(position)[0][:_N_CANDIDATES]
        for pair in pairs.tolist():
            yield Move(merge, tuple(pair))
        for j in pairs.unique().tolist():
            yield Move(drop, (j,))

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
        for _ in range(_ROUNDS * self.objective.edits.n_components):
            self._leave_out_weak(chain)
            while better := self._fewer(chain[-1]):
                chain += better
            before, length = chain[-1].cost, len(chain)
            converged = self.settle(chain, rest)
            while len(chain) > length and rises(chain[length - 1], chain[-1]):
                chain.pop()
            if before - chain[-1].cost <= tol and not self._leave_out_weak(chain):
                return converged
        return False

    def _leave_out_weak(self, chain: list[State]) -> bool:
        """Leave out components that only luck pays for, and what was below without.

        Returns
        -------
        left_out : bool
        """
        found, weak = [chain[-1]], self.objective.edits.weak
        try:
            while (fewer := weak.left_out(found[-1])) is not None:
                found = [self.objective.evaluate(fewer)]
                settle_or_stay(self.objective, found, self.settings.tol, _TRIAL_STEPS)
        except ValueError:
            # Without such a component some sample may be too far from all others.
            return False
        if found[-1] is chain[-1]:
            return False
        while chain and chain[-1].cost < found[-1].cost:
            chain.pop()
        chain.append(found[-1])
        return True

    def _fewer(self, state: State) -> list[State]:
        """Return the states below `state` that moves to fewer components lead to."""
        if state.n_components == 1 or self.swaps:
            return []
        return self.merge_all_paying(state) or self.try_reductions(state)

    def merge_all_paying(self, state: State) -> list[State]:
        """Return the states below `state` that merging all pairs that pay leads to.

        Those pay whose penalty decreases by more than likelihood can be lost.
        """
        position, target = WholePosition(self.objective, [state]), self.below(state)
        pairs, changes = ranked_pairs(position)
        paying = disjoint_pairs(pairs[changes < 0])
        if len(paying) < 2:
            return []

        def merge_all(
            objective: Objective, whole: State, _: Sequence[int]
        ) -> MixtureParameters:
            return objective.edits.merged(whole, paying)

        trials = self.trials(position, [Move(merge_all, ())], target)
        return self._winner(trials, Goal(target))

    def try_reductions(self, state: State) -> list[State]:
        """Return the states below `state` that reductions, one or a few, lead to.

        Where one does not pay, two may: the prior charges the first of many
        components less than the first of two.
        """
        target = self.below(state)
        position = position_of(self.objective, state)
        for _ in range(_DEPTH):
            trials = self.trials(position, self.reductions(position), target)
            if not trials:
                return []
            position = min(trials, key=lambda trial: trial.cost)
            if position.local and position.cost < target:
                trials = [self._reduced(position)]
            better = self._winner(trials, Goal(target))
            if better:
                return better
            least = self.objective.edits.least_penalty
            if least - position.state.log_likelihood >= target:
                break
        return []

    def _reduced(self, position: Position) -> Position:
        """Return where further reductions lead, each of which pays by itself."""
        for _ in range(position.state.n_components // _STRETCH):
            target = self.below(position.state)
            trials = self.trials(position, self.reductions(position), target)
            best = min(trials, key=lambda trial: trial.cost, default=position)
            if best.cost >= target:
                break
            position = best
        return position

    def try_splits(self, state: State) -> list[State]:
        """Return the states below `state` that splitting components leads to.

        Where there may be no more of them, or none pays, two others are merged before.
        No component is left on a few samples for it: there the likelihood has no
        maximum.
        """
        edits = self.objective.edits
        goal = Goal(self.below(state), edits.weak.count(state))
        position, tried = position_of(self.objective, state), set()
        if state.n_components < edits.n_components:
            better = self._split(position, goal)
            if better:
                return better
            tried = set(_names(state))
        pairs, _ = ranked_pairs(position)
        for pair in pairs[: _N_UNIONS[self.settings.moves]].tolist():
            union = Move(merge, tuple(pair))
            # A step moves what is near; what has not moved gains no more than before.
            for merged in self.trials(position, [union], n_steps=int(position.local)):
                better = self._split(merged, goal, tried)
                if better:
                    return better
        return []

    def _split(
        self, position: Position, goal: Goal, tried: Collection[bytes] = ()
    ) -> list[State]:
        """Return the states that splitting components leads to, if to a goal."""
        if position.local:
            found = self._split_some(position, goal, tried)
            return self._winner([found], goal) if found else []
        heaviest = position.state.parameters.weights.argsort(descending=True)
        moves = [
            Move(split, (j,))
            for j in heaviest[: _N_SPLITS[self.settings.moves]].tolist()
        ]
        return self._winner(self.trials(position, moves, goal.cost), goal)

    def _split_some(
        self, position: Position, goal: Goal, tried: Collection[bytes]
    ) -> Position | None:
        """Split the heaviest components one after another, where that pays.

        Parameters
        ----------
        position : Position
        goal : Goal
            Of the first split; those after it have to pay, too.
        tried : collection of bytes
            The names of components whose splits do not pay.
        """
        edits, target = self.objective.edits, goal.cost
        seen = set(tried)
        found = None
        for _ in range(_N_LOCAL_SPLITS):
            move = _next_split(position.state, seen)
            if move is None or position.state.n_components >= edits.n_components:
                break
            for trial in self.trials(position, [move], target):
                here = trial.towards(target, self.settings)
                if here.cost < target and edits.weak.count(here.state) <= goal.n_weak:
                    position = found = here
                    target = self.below(position.state)
        return found

    def try_additions(self, state: State) -> list[State]:
        """Return the states below `state` that a component of the pool leads to.

        A split makes two halves of one component, and a small narrow cluster within it
        is neither.
        """
        edits = self.objective.edits
        if state.n_components >= edits.n_components:
            return []
        goal = Goal(self.below(state), edits.weak.count(state))
        best = edits.additions(state, self.pool, _N_ADDITIONS)
        # A sparsity extinguishes what is not yet where it belongs.
        free = WholePosition(edits.uncharged().objective, [state])
        moves = [Move(replacing(found), ()) for found in best]
        found = self.trials(free, moves, n_steps=_FREE_STEPS)
        moves = [Move(replacing(trial.state.parameters), ()) for trial in found]
        position = WholePosition(self.objective, [state])
        trials = self.trials(position, moves, goal.cost)
        return self._winner(trials, goal) or self._made_up_for(trials, goal)

    def _made_up_for(self, trials: list[Position], goal: Goal) -> list[State]:
        """Return the states below a goal where reductions pay for additions.

        A component that does not pay by itself can make others superfluous.
        """
        tol, max_iter = self.settings.tol, self.settings.max_iter
        settled = [trial.settled(tol, max_iter) for trial in trials]
        settled.sort(key=lambda trial: trial.cost)
        for trial in settled[:_N_MADE_UP_FOR]:
            chain = list(trial.on_all_samples())
            while better := self._fewer(chain[-1]):
                chain += better
            n_weak = self.objective.edits.weak.count(chain[-1])
            if chain[-1].cost < goal.cost and n_weak <= goal.n_weak:
                return [state for state in chain if state.cost < goal.cost]
        return []

    def below(self, state: State) -> float:
        """Return the cost from which a candidate of `state` has won."""
        rounding = 1e-10 * max(1.0, abs(state.cost))
        return state.cost - max(0.1 * self.settings.tol, rounding)

    def trials(
        self,
        position: Position,
        moves: Iterable[Move],
        target: float = -math.inf,
        n_steps: int = _TRIAL_STEPS,
    ) -> list[Position]:
        """Return where moves lead at first, without those that collapse."""
        found = []
        for move in moves:
            try:
                found.append(position.attempt(move, target, n_steps))
            except ValueError:
                continue
        return found

    def _winner(self, trials: list[Position], goal: Goal) -> list[State]:
        """Follow the best trials until one reaches the goal or none can."""
        for trial in sorted(trials, key=lambda trial: trial.cost):
            try:
                below = trial.follow(self.settings, goal.cost)
            except ValueError:
                continue
            if below and self.objective.edits.weak.count(below[-1]) <= goal.n_weak:
                return below
        return []

    def settle(self, chain: list[State], tol: float, target: float = math.inf) -> bool:
        """Extend a chain by EM until it converges or a component collapses."""
        max_iter = self.settings.max_iter
        return settle_or_stay(self.objective, chain, tol, max_iter, target)


class Goal(NamedTuple):
    """What a candidate has to reach.

    Attributes
    ----------
    cost : float
        It has to be below.
    n_weak : float
        At most so many of its components are on too few samples.
    """

    cost: float
    n_weak: float = math.inf


def ranked_pairs(position: Position) -> tuple[Tensor, Tensor]:
    """Return pairs of components, (P, 2), and what merging changes, best first."""
    if position.state.n_components == 1:
        return torch.empty((0, 2), dtype=torch.int64), torch.empty(0)
    pairs, losses, decreases = position.merger_estimates()
    changes, order = (losses - decreases).sort(stable=True)
    return pairs[order], changes


def _next_split(state: State, seen: set[bytes]) -> Move | None:
    """Return the split of the heaviest component that was not seen, and note it."""
    names = _names(state)
    for j in state.parameters.weights.argsort(descending=True).tolist():
        if names[j] not in seen:
            seen.add(names[j])
            return Move(split, (j,))
    return None


def _names(state: State) -> list[bytes]:
    """Return what tells components from others, and from themselves elsewhere."""
    return [mean.tobytes() for mean in state.parameters.means.cpu().numpy()]


def disjoint_pairs(pairs: Tensor) -> Tensor:
    """Keep the pairs, (P, 2), that share no component with one before them."""
    taken: set[int] = set()
    kept = []
    for i, j in pairs.tolist():
        if not taken & {i, j}:
            taken |= {i, j}
            kept.append((i, j))
    return torch.tensor(kept, dtype=torch.int64, device=pairs.device).reshape(-1, 2)
