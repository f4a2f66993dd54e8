"""EM steps as a chain of states, and when such a chain has converged."""

from __future__ import annotations

import math

from sklearn_keops_gmm._model import State
from sklearn_keops_gmm.solvers._protocol import Objective

# By this part of itself a cost that has converged goes up and down.
_ROUNDING = 1e-13


def check_finite(cost: float) -> None:
    """Raise ValueError if a cost is infinite or NaN: nothing could follow from it."""
    if not math.isfinite(cost):
        raise ValueError(
            f"The cost is {cost}: some samples are so far from all components, or "
            "features of so different scales, that their log-likelihood is beyond what "
            "numbers can hold. Scale the input data, or leave out what is far from all "
            "other samples."
        )


def advance(objective: Objective, state: State) -> State:
    """Make an M-step and the next E-step."""
    return objective.evaluate(objective.maximize(state))


def rises(before: State, after: State) -> bool:
    """Tell whether the cost rises from one state to another, by more than rounding."""
    return after.cost > before.cost + _ROUNDING * max(1.0, abs(before.cost))


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
    """Extend a chain of states by EM until it converges, or cannot reach `target`.

    A step that raises the cost, as one can with `reg_covar`, ends it and is not kept.

    Parameters
    ----------
    objective : Objective
    chain : list of State
        At least one; added to.
    tol : float
        It has converged when less than this is left to gain, by extrapolation.
    max_iter : int
        At most so many steps.
    target : float
        A cost; a chain that twice the extrapolated fall does not bring there is
        left.

    Returns
    -------
    converged : bool
    """
    for _ in range(max_iter):
        left = remaining_fall([state.cost for state in chain[-3:]])
        if left < tol:
            if len(chain) > 1 and rises(chain[-2], chain[-1]):
                chain.pop()
            return True
        if chain[-1].cost - 2 * left > target:
            return False
        chain.append(advance(objective, chain[-1]))
    return False


def settle_or_stay(
    objective: Objective,
    chain: list[State],
    tol: float,
    max_iter: int,
    target: float = math.inf,
) -> bool:
    """Settle as far as no component collapses; a collapse counts as not converged."""
    try:
        return settle(objective, chain, tol, max_iter, target)
    except ValueError:
        return False
