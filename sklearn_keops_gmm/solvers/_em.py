"""Expectation-maximisation, penalised by majorising the prior."""

from __future__ import annotations

from sklearn_keops_gmm._model import MixtureParameters, SolverResult
from sklearn_keops_gmm.solvers._descent import evaluate, maximize
from sklearn_keops_gmm.solvers._moves import improve
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
    descend = ACCELERATIONS[settings.acceleration]
    result, stopped = descend(objective, start, settings, on_step)
    if stopped or not settings.moves:
        return result
    return improve(objective, result, settings, on_step)


def alternate(
    objective: Objective,
    start: MixtureParameters,
    settings: SolverSettings,
    on_step: OnStep,
) -> tuple[SolverResult, bool]:
    """Descend by plain EM; return the result, and whether `on_step` stopped it.

    Without a prior these are the steps, the order and the stopping rule of
    scikit-learn: the cost that is compared is that before the M-step.
    """
    parameters = start
    previous = settings.previous_cost
    costs: list[float] = []
    log_likelihoods: list[float] = []
    converged = stop = False
    for n_iter in range(1, settings.max_iter + 1):
        state = evaluate(objective, parameters)
        log_likelihoods.append(state.log_likelihood)
        costs.append(state.cost)
        parameters = maximize(objective, state)
        fall = previous - state.cost
        converged = abs(fall) < settings.tol
        done = converged and not settings.moves
        stop = on_step(n_iter, fall, computed(parameters), done)
        if stop or converged:
            break
        previous = state.cost
    result = SolverResult(parameters, tuple(costs), tuple(log_likelihoods), converged)
    return result, stop


ACCELERATIONS = {None: alternate, "squarem": squarem}
