"""Expectation-maximisation, penalised by majorising the prior."""

from __future__ import annotations

from collections.abc import Iterator

from sklearn_keops_gmm._model import MixtureParameters, SolverResult
from sklearn_keops_gmm.solvers._improve import improve
from sklearn_keops_gmm.solvers._iterate import Iteration, iterate
from sklearn_keops_gmm.solvers._protocol import (
    Objective,
    OnStep,
    SolverSettings,
    computed,
)
from sklearn_keops_gmm.solvers._squarem import squarem


def em(
    objective: Objective,
    start: MixtureParameters,
    settings: SolverSettings,
    on_step: OnStep,
) -> SolverResult:
    """Alternate E-steps and penalised M-steps until the cost converges.

    With a prior moves to fewer components follow, if they are asked for.
    """
    steps = ACCELERATIONS[settings.acceleration](objective, start, settings)
    result, stopped = iterate(start, steps, settings, on_step)
    if stopped or not settings.moves:
        return result
    return improve(objective, start, result, settings, on_step)


def alternate(
    objective: Objective, start: MixtureParameters, settings: SolverSettings
) -> Iterator[Iteration]:
    """Make steps of plain EM.

    Without a prior these are the steps, the order and the stopping rule of
    scikit-learn: the cost that is compared is that before the M-step.
    """
    parameters = start
    previous = settings.previous_cost
    while True:
        state = objective.evaluate(parameters)
        parameters = objective.maximize(state)
        fall, previous = previous - state.cost, state.cost
        converged = abs(fall) < settings.tol
        costs = state.cost, state.log_likelihood
        yield Iteration(costs, fall, computed(parameters), converged)


ACCELERATIONS = {None: alternate, "squarem": squarem}
