"""What solvers ask of an objective, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._model import (
    CostTerms,
    Evaluation,
    LazyParameters,
    Leap,
    MixtureParameters,
    SolverResult,
    State,
    Targets,
)


class OnStep(Protocol):
    """What a solver calls after each iteration."""

    def __call__(
        self, n_iter: int, fall: float, parameters: LazyParameters, done: bool
    ) -> bool:
        """Receive an iteration, after it; return True to stop.

        Parameters
        ----------
        n_iter : int
            Its number, from 1.
        fall : float
            Of the cost.
        parameters : callable
            Returns the mixture that it led to. To be called at once if at all.
        done : bool
            Whether it is known to be the last.
        """


def computed(parameters: MixtureParameters) -> LazyParameters:
    """Return a mixture that is computed already in the form that `OnStep` takes."""
    return lambda: parameters


class Chart(Protocol):
    """The objective on the mixtures around one, in well-scaled coordinates."""

    @property
    def origin(self) -> np.ndarray:
        """The vector of the mixture in the middle, of shape (n,)."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest vector, of shape (n,) each."""

    def evaluate(self, packed: np.ndarray) -> Evaluation:
        """Return what is minimised at a vector of shape (n,), with its gradient."""

    def parameters(self, packed: np.ndarray) -> MixtureParameters:
        """Return the mixture at a vector."""

    def leap(
        self, middle: MixtureParameters, end: MixtureParameters, longest: float
    ) -> Leap | None:
        """Return where two steps from the origin point, if beyond the second."""


class Part(Protocol):
    """Some components of a mixture, to be changed while all others are held."""

    @property
    def objective(self) -> Objective:
        """Of these components. Costs are those of the whole mixture."""

    @property
    def state(self) -> State:
        """These components as they are."""


class Field(Protocol):
    """A mixture that can be changed in parts."""

    @property
    def state(self) -> State:
        """The whole mixture."""

    @property
    def pairs(self) -> Tensor:
        """Pairs of neighbours, (P, 2)."""

    @property
    def losses(self) -> Tensor:
        """What mergers lose at most, (P,), of mean log-likelihood."""

    def merger_estimates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs of components, and what their mergers change, as `Edits` do."""

    def part(self, chosen: Tensor) -> Any:
        """Return the `Part` of some components, (K,) int64."""

    def replaced(self, part: Any, state: State) -> Field:
        """Return the field with a part in another state, whose components are last."""


class Uncharged(Protocol):
    """A cost without what is charged for components."""

    @property
    def objective(self) -> Objective:
        """The cost."""

    def single(self, state: State) -> MixtureParameters:
        """Return the M-step in which all components are one."""

    def charged(self, state: State) -> State:
        """Return a state of it with what is charged for its components."""


class WeakComponents(Protocol):
    """Components on too few samples to tell a covariance."""

    def count(self, state: State) -> int:
        """Count them."""

    def left_out(self, state: State) -> MixtureParameters | None:
        """Return the mixture without those that only luck pays for, or some of them.

        None if there are none.
        """


class Edits(Protocol):
    """Mixtures of other components than one has."""

    @property
    def n_components(self) -> int:
        """The number of components at most."""

    @property
    def least_penalty(self) -> float:
        """The prior's term of the cost of a single component."""

    def merger_estimates(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs of components, and what their mergers change.

        That is the likelihood that each loses, and by how much the penalty decreases.
        """

    def merged(self, state: State, pairs: Tensor) -> MixtureParameters:
        """Return the M-step in which each of disjoint `pairs`, (P, 2), is one."""

    def without(
        self, parameters: MixtureParameters, dropped: Tensor
    ) -> MixtureParameters:
        """Return the mixture of all components but those `dropped`, (M,) bool."""

    def split(self, parameters: MixtureParameters, j: int) -> MixtureParameters:
        """Return the mixture with component `j` as two halves side by side."""

    def uncharged(self) -> Uncharged:
        """Return the cost without what is charged for components."""

    def additions(
        self, state: State, pool: Sequence[MixtureParameters], n_best: int
    ) -> list[MixtureParameters]:
        """Return the mixtures with one component more that cost least.

        Of a pool, or of groups of neighbouring samples. None where that would take too
        long to find.
        """

    @property
    def weak(self) -> WeakComponents:
        """Components on too few samples to tell a covariance."""

    def field(self, state: State) -> Field | None:
        """Return a mixture as what can be changed in parts, if it can."""


class Objective(Protocol):
    """The part of the cost that solvers see."""

    def evaluate(self, parameters: MixtureParameters) -> State:
        """Make the E-step.

        Raises ValueError if the cost is not finite.
        """

    def maximize(self, state: State) -> MixtureParameters:
        """Make the M-step, which leaves out components that the prior extinguishes."""

    def hold(self, parameters: MixtureParameters) -> MixtureParameters | None:
        """Return a start with the hyperparameters that are held from there on.

        None if there are none.
        """

    def renewed(self, state: State) -> State | None:
        """Return the state with the hyperparameters that the data now make.

        None if there are none, or they would hardly move.
        """

    @property
    def edits(self) -> Edits:
        """What makes mixtures of other components."""

    def near(self, parameters: MixtureParameters) -> Chart:
        """Return the objective on the mixtures around `parameters`."""

    def differentiable_cost(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        fractions: Tensor | None = None,
        targets: Targets | None = None,
    ) -> CostTerms:
        """Return the terms of the cost of unconstrained parameters."""

    def parameters(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        targets: Targets | None = None,
    ) -> MixtureParameters:
        """Return the mixture that unconstrained parameters describe."""

    def batches(
        self, batch_size: int | None, random_state: RandomState
    ) -> Iterator[tuple[float, Objective]]:
        """Yield objectives on parts of the data, each with its share of all of it."""

    def check_not_collapsed(
        self, parameters: MixtureParameters, start: MixtureParameters
    ) -> None:
        """Raise ValueError if a component has collapsed since the start."""


@dataclass(frozen=True)
class SolverSettings:
    """Numbers that steer a solver.

    Attributes
    ----------
    tol : float
        Stop when the cost changes by less.
    max_iter : int
        At most so many iterations, at least 1.
    learning_rate : float
        Step size of the gradient solvers.
    acceleration : str or None
        Of EM.
    moves : bool
        Whether EM is followed by moves to fewer components.
    previous_cost : float
        Cost before the start, for a warm start; otherwise infinity.
    nat : float
        One nat over all samples, as a mean.
    batch_size : int or None
        At most so many samples in a step of 'adam'; None takes all.
    random_state : RandomState
        Shuffles the samples into batches.
    """

    tol: float
    max_iter: int
    learning_rate: float
    acceleration: str | None = None
    moves: bool = False
    previous_cost: float = float("inf")
    nat: float = float("inf")
    batch_size: int | None = None
    random_state: RandomState = field(default_factory=RandomState)


class Solver(Protocol):
    """A way to descend the objective."""

    def __call__(
        self,
        objective: Objective,
        start: MixtureParameters,
        settings: SolverSettings,
        on_step: OnStep,
    ) -> SolverResult: ...
