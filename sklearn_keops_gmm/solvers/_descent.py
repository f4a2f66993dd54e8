"""EM steps as a chain of states, and when such a chain has come to rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sklearn_keops_gmm._parameters import MixtureParameters, Moments
from sklearn_keops_gmm.solvers._protocol import Objective


@dataclass(frozen=True)
class State:
    """A mixture with its moments: what an E-step leaves."""

    parameters: MixtureParameters
    moments: Moments
    log_likelihood: float
    cost: float

    @property
    def n_components(self) -> int:
        """The number of components alive."""
        return len(self.parameters.weights)


def evaluate(objective: Objective, parameters: MixtureParameters) -> State:
    """Make the E-step."""
    moments = objective.moments(parameters)
    log_likelihood = objective.log_likelihood(moments)
    cost = objective.penalty(parameters) - log_likelihood
    return State(parameters, moments, log_likelihood, cost)


def advance(objective: Objective, state: State) -> State:
    """Make an M-step and the next E-step."""
    return evaluate(objective, objective.maximize(state.moments, state.parameters))


def remaining_fall(costs: list[float]) -> float:
    """Extrapolate by how much the cost is still going to fall.

    EM converges linearly: the last two falls give the rate, and Aitken's rule the
    limit. Infinite as long as the falls do not shrink.
    """
    if len(costs) < 3:
        return math.inf
    before, fall = costs[-3] - costs[-2], costs[-2] - costs[-1]
    if fall <= 0:
        return 0.0
    return fall * fall / (before - fall) if before > fall else math.inf


def settle(
    objective: Objective,
    chain: list[State],
    tol: float,
    max_iter: int,
    target: float = math.inf,
) -> bool:
    """Extend a chain of states by EM steps until it rests, or cannot reach `target`.

    Parameters
    ----------
    objective : Objective
    chain : list of State
        At least one; added to.
    tol : float
        It rests when less than this is left to gain, by extrapolation.
    max_iter : int
        At most so many steps.
    target : float
        A cost; a chain that twice the extrapolated fall does not bring there is
        left.

    Returns
    -------
    rests : bool
    """
    for _ in range(max_iter):
        left = remaining_fall([state.cost for state in chain[-3:]])
        if left < tol:
            return True
        if chain[-1].cost - 2 * left > target:
            return False
        chain.append(advance(objective, chain[-1]))
    return False
