"""EM that leaps: squared extrapolation, kept only where the cost is lower."""

from __future__ import annotations

from sklearn_keops_gmm._model import MixtureParameters, SolverResult
from sklearn_keops_gmm.solvers._descent import evaluate, maximize
from sklearn_keops_gmm.solvers._protocol import (
    Objective,
    OnStep,
    SolverSettings,
    computed,
)

# By so much the longest leap grows where one was as long, and shrinks after a failure.
_FACTOR = 4.0


def squarem(
    objective: Objective,
    start: MixtureParameters,
    settings: SolverSettings,
    on_step: OnStep,
) -> tuple[SolverResult, bool]:
    """Descend by SQUAREM (Varadhan and Roland, 2008), with a guard on the cost.

    Two steps of EM tell where a leap leads. If the cost there is not above that of
    the mixture before the second step, EM continues from there with one step, and all
    begins anew; otherwise it continues from the second step, as if nothing had been
    tried. It converges by EM's own rule, when a step of EM changes the cost by less
    than ``tol``. ``max_iter`` counts leaps that failed, ``costs`` does not hold them.

    Returns
    -------
    result : SolverResult
    stopped : bool
        Whether `on_step` said so.
    """
    parameters = step = start
    previous, longest = settings.previous_cost, _FACTOR
    costs: list[float] = []
    log_likelihoods: list[float] = []
    track: list[MixtureParameters] = []
    leapt = converged = stop = False
    for n_iter in range(1, settings.max_iter + 1):
        state = evaluate(objective, parameters)
        fall = previous - state.cost
        if leapt and not fall >= 0.0:
            longest = max(_FACTOR, longest / _FACTOR)
            parameters, leapt, fall = step, False, 0.0
        else:
            costs.append(state.cost)
            log_likelihoods.append(state.log_likelihood)
            previous = state.cost
            converged = not leapt and abs(fall) < settings.tol
            track = [] if leapt else [*track, parameters]
            parameters = step = maximize(objective, state)
            leapt = False
            if len(track) == 2:
                leap = objective.leap(track[0], track[1], step, longest)
                if leap is not None:
                    leapt, parameters = True, leap.parameters
                    longest *= _FACTOR if leap.length == longest else 1.0
                track = []
        # Where a leap leads is not known yet to be any better than the step.
        stop = on_step(n_iter, fall, computed(step), converged and not settings.moves)
        if stop or converged:
            break
    result = SolverResult(step, tuple(costs), tuple(log_likelihoods), converged)
    return result, stop
