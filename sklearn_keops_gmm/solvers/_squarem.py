"""EM that leaps: squared extrapolation, kept only where the cost is lower."""

from __future__ import annotations

from collections.abc import Iterator

from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm.solvers._iterate import Iteration
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings, computed

# By so much the longest leap grows where one was as long, and shrinks after a failure.
_FACTOR = 4.0


def squarem(
    objective: Objective, start: MixtureParameters, settings: SolverSettings
) -> Iterator[Iteration]:
    """Make steps of SQUAREM (Varadhan and Roland, 2008), with a guard on the cost.

    Two steps of EM tell where a leap leads. If the cost there is not above that of
    the mixture before the second step, EM continues from there with one step, and all
    begins anew; otherwise it continues from the second step, as if nothing had been
    tried. It converges by EM's own rule, when a step of EM changes the cost by less
    than ``tol``. ``max_iter`` counts leaps that failed, ``costs`` does not hold them.
    """
    parameters = step = start
    previous, longest = settings.previous_cost, _FACTOR
    track: list[MixtureParameters] = []
    leapt = False
    while True:
        state = objective.evaluate(parameters)
        fall = previous - state.cost
        if leapt and not fall >= 0.0:
            longest = max(_FACTOR, longest / _FACTOR)
            parameters, leapt = step, False
            yield Iteration(None, 0.0, computed(step), False)
            continue
        previous = state.cost
        converged = not leapt and abs(fall) < settings.tol
        track = [] if leapt else [*track, parameters]
        parameters = step = objective.maximize(state)
        leapt = False
        if len(track) == 2:
            leap = objective.near(track[0]).leap(track[1], step, longest)
            if leap is not None:
                leapt, parameters = True, leap.parameters
                longest *= _FACTOR if leap.length == longest else 1.0
            track = []
        # Where a leap leads is not known yet to be any better than the step.
        costs = state.cost, state.log_likelihood
        yield Iteration(costs, fall, computed(step), converged)
