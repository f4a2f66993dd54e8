"""What solvers ask of an objective, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from sklearn_keops_gmm._parameters import MixtureParameters, Moments, SolverResult

# Called after each iteration with its number, from 1, and the fall of the cost.
OnStep = Callable[[int, float], None]


class Objective(Protocol):
    """The part of the cost that solvers see."""

    def moments(self, parameters: MixtureParameters) -> Moments:
        """Return the moments about the means of `parameters`."""

    def penalty(self, parameters: MixtureParameters) -> float:
        """Return the prior's term of the cost."""

    def log_likelihood(self, moments: Moments) -> float:
        """Return the mean log-likelihood of the parameters that made `moments`."""

    def maximize(
        self, moments: Moments, parameters: MixtureParameters
    ) -> MixtureParameters:
        """Return the M-step from `moments` about `parameters`."""

    def differentiable_cost(
        self, logits: Tensor, means: Tensor, factors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return cost, ridge and log-likelihood of unconstrained parameters."""

    def parameters(
        self, logits: Tensor, means: Tensor, factors: Tensor
    ) -> MixtureParameters:
        """Return the mixture that unconstrained parameters describe."""


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
    previous_cost : float
        Cost before the start, for a warm start; otherwise infinity.
    """

    tol: float
    max_iter: int
    learning_rate: float
    previous_cost: float = float("inf")


class Solver(Protocol):
    """A way to descend the objective."""

    def __call__(
        self,
        objective: Objective,
        start: MixtureParameters,
        settings: SolverSettings,
        on_step: OnStep,
    ) -> SolverResult: ...
