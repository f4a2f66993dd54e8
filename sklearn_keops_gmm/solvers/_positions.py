"""Where a search stands, and what a move from there promises.

A move is tried on the whole mixture, or on the samples of the components that it
touches and of their neighbours: then it takes a part of one E-step, however many
components there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters, State
from sklearn_keops_gmm.solvers._descent import advance, settle, settle_or_stay
from sklearn_keops_gmm.solvers._protocol import (
    Field,
    Objective,
    Part,
    SolverSettings,
)

# With more components a move is tried on a part of them.
FEW = 16
# What changes settles with so many neighbours.
_N_NEIGHBOURS = 6
# Neighbours overlap: their merger would lose at most so much for each of their samples.
_NEAR = 0.8
# So many steps a part is followed at most, as others are held.
_LONGEST = 10

# Makes parameters of an objective, a state, and some of its components.
Edit = Callable[[Objective, State, Sequence[int]], MixtureParameters]


@dataclass(frozen=True)
class Move:
    """A mixture to try.

    Attributes
    ----------
    edit : callable
    components : tuple of int
        That it touches.
    """

    edit: Edit
    components: tuple[int, ...]


def merge(objective: Objective, state: State, two: Sequence[int]) -> MixtureParameters:
    """Merge two components."""
    device = state.parameters.means.device
    return objective.edits.merged(state, torch.tensor([list(two)], device=device))


def drop(objective: Objective, state: State, one: Sequence[int]) -> MixtureParameters:
    """Leave out a component.

    Raises ValueError if there is no other: what it explains would be nothing's.
    """
    if state.n_components == 1:
        raise ValueError("The only component cannot be left out.")
    dropped = torch.zeros_like(state.parameters.weights, dtype=torch.bool)
    dropped[one[0]] = True
    return objective.edits.without(state.parameters, dropped)


def split(objective: Objective, state: State, one: Sequence[int]) -> MixtureParameters:
    """Make two components of one."""
    return objective.edits.split(state.parameters, one[0])


def replacing(found: MixtureParameters) -> Edit:
    """Return the edit that takes a mixture that is known."""

    def known(
        objective: Objective, state: State, _: Sequence[int]
    ) -> MixtureParameters:
        return found

    return known


class Position(Protocol):
    """A mixture on the way, and what can be tried from there."""

    @property
    def state(self) -> State:
        """The mixture."""

    @property
    def cost(self) -> float:
        """Its cost."""

    @property
    def local(self) -> bool:
        """Whether moves are tried on a part of the mixture."""

    def merger_estimates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs of components, and what their mergers change."""

    def attempt(self, move: Move, target: float, n_steps: int) -> Position:
        """Return where so many steps after a move lead, fewer if below a target.

        Raises ValueError if a component collapses.
        """

    def settled(self, tol: float, n_steps: int) -> Position:
        """Return where what has changed settles, as far as no component collapses."""

    def towards(self, target: float, settings: SolverSettings) -> Position:
        """Return where it settles, or where it shows that a target is not reached."""

    def on_all_samples(self) -> list[State]:
        """Return the states of the whole mixture that have led here."""

    def follow(self, settings: SolverSettings, target: float) -> list[State]:
        """Return the states of the whole mixture below a target that follow.

        Raises ValueError if a component collapses.
        """


@dataclass(frozen=True)
class WholePosition:
    """A position of which all samples are looked at.

    Attributes
    ----------
    objective : Objective
    chain : list of State
        What a move and steps after it have led to.
    """

    objective: Objective
    chain: list[State]
    local = False

    @property
    def state(self) -> State:
        """The mixture."""
        return self.chain[-1]

    @property
    def cost(self) -> float:
        """Its cost."""
        return self.state.cost

    def merger_estimates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs of components, and what their mergers change."""
        return self.objective.edits.merger_estimates(self.state)

    def attempt(self, move: Move, target: float, n_steps: int) -> WholePosition:
        """Return where so many steps after a move lead, fewer if below a target."""
        objective = self.objective
        found = move.edit(objective, self.state, move.components)
        return WholePosition(objective, _chain(objective, found, target, n_steps))

    def settled(self, tol: float, n_steps: int) -> WholePosition:
        """Return where it settles, as far as no component collapses."""
        chain = list(self.chain)
        settle_or_stay(self.objective, chain, tol, n_steps)
        return WholePosition(self.objective, chain)

    def towards(self, target: float, settings: SolverSettings) -> WholePosition:
        """Return where it settles, or where it shows that a target is not reached."""
        chain = list(self.chain)
        if self.cost >= target:
            settle(self.objective, chain, settings.tol, settings.max_iter, target)
        return WholePosition(self.objective, chain)

    def on_all_samples(self) -> list[State]:
        """Return the states that have led here."""
        return self.chain

    def follow(self, settings: SolverSettings, target: float) -> list[State]:
        """Return the states below a target that follow."""
        chain = self.towards(target, settings).chain
        return [state for state in chain if state.cost < target]


@dataclass(frozen=True)
class LocalPosition:
    """A position of which a move changes a part, all other components held.

    Attributes
    ----------
    objective : Objective
        Of the whole mixture.
    origin : Field
    part : Part or None
        What has changed since.
    chain : list of State
        Of that part.
    """

    objective: Objective
    origin: Field
    part: Part | None
    chain: list[State]
    local = True

    @cached_property
    def field(self) -> Field:
        """The whole mixture, with what has changed."""
        if self.part is None:
            return self.origin
        return self.origin.replaced(self.part, self.chain[-1])

    @property
    def state(self) -> State:
        """The mixture."""
        return self.field.state

    @property
    def cost(self) -> float:
        """Its cost."""
        return self.chain[-1].cost

    def merger_estimates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs of components, and what their mergers change."""
        return self.field.merger_estimates()

    def attempt(self, move: Move, target: float, n_steps: int) -> LocalPosition:
        """Return where so many steps after a move lead, fewer if below a target."""
        part: Part = self.field.part(self._with_neighbours(move.components))
        first = range(len(move.components))
        found = move.edit(part.objective, part.state, first)
        chain = _chain(part.objective, found, target, n_steps)
        return LocalPosition(self.objective, self.field, part, chain)

    def settled(self, tol: float, n_steps: int) -> LocalPosition:
        """Return where the part settles that has changed, all else held."""
        return self._settled(tol, n_steps, math.inf)

    def towards(self, target: float, settings: SolverSettings) -> LocalPosition:
        """Return where the part settles, or shows that a target is not reached."""
        if self.cost < target:
            return self
        return self._settled(settings.tol, _LONGEST, target)

    def _settled(self, tol: float, n_steps: int, target: float) -> LocalPosition:
        if self.part is None:
            return self
        chain = list(self.chain)
        settle_or_stay(self.part.objective, chain, tol, n_steps, target)
        return LocalPosition(self.objective, self.origin, self.part, chain)

    def on_all_samples(self) -> list[State]:
        """Return the state of the whole mixture."""
        return [self.objective.evaluate(self.state.parameters)]

    def follow(self, settings: SolverSettings, target: float) -> list[State]:
        """Return the states of the whole mixture below a target that follow.

        None where the part alone does not lead there.
        """
        here = self.towards(target, settings)
        if here.cost >= target:
            return []
        whole = WholePosition(self.objective, here.on_all_samples())
        return whole.follow(settings, target)

    def _with_neighbours(self, touched: tuple[int, ...]) -> Tensor:
        """Return components and those that overlap them: (K,)."""
        pairs, losses = self.field.pairs, self.field.losses
        weights = self.state.parameters.weights
        ends = torch.tensor(touched, device=pairs.device)
        first, second = pairs.T
        touching = torch.isin(first, ends) | torch.isin(second, ends)
        near = pairs[touching]
        losses = losses[touching] / weights[near].sum(1)
        values, order = losses.topk(min(2 * _N_NEIGHBOURS, len(near)), largest=False)
        found = near[order][values < _NEAR].flatten().tolist()
        others = [j for j in dict.fromkeys(found) if j not in touched]
        chosen = [*touched, *others[:_N_NEIGHBOURS]]
        return torch.tensor(chosen, dtype=torch.int64, device=pairs.device)


def _chain(
    objective: Objective, start: MixtureParameters, target: float, n_steps: int
) -> list[State]:
    """Return a state and the steps from there until one is below a target."""
    chain = [objective.evaluate(start)]
    while len(chain) <= n_steps and chain[-1].cost >= target:
        chain.append(advance(objective, chain[-1]))
    return chain


def position_of(objective: Objective, state: State) -> Position:
    """Return where a search stands in a state."""
    if state.n_components > FEW:
        field = objective.edits.field(state)
        if field is not None:
            return LocalPosition(objective, field, None, [state])
    return WholePosition(objective, [state])
