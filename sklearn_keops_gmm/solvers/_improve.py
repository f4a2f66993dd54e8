"""What follows where EM has converged: moves, and other ways to few components.

What EM under a sparsity ends in depends on where it starts: components that are
extinguished early never come back. A path of maximum likelihood keeps those that are
needed, whatever they weigh: its cheapest members are other places to descend from, and
what lies on the path can be added again. The path goes down from a start that no random
number has a part in, which is a place to descend from itself.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from sklearn_keops_gmm._model import MixtureParameters, SolverResult, State
from sklearn_keops_gmm.solvers._descent import rises
from sklearn_keops_gmm.solvers._growth import grown
from sklearn_keops_gmm.solvers._homotopy import homotopy
from sklearn_keops_gmm.solvers._moves import Search
from sklearn_keops_gmm.solvers._protocol import (
    Objective,
    OnStep,
    SolverSettings,
    computed,
)

# From more components a path would take longer than the fit.
MOST_ON_A_PATH = 100
# So much may be left to gain on the path, in so many steps from one member to the next.
_TOL, _MAX_ITER = 1e-3, 100
# So little below each other are two ends of one kind, where a ridge moves the least
# cost away from where EM ends.
_SAME = 1e-6
# So many members of the path are followed.
_N_MEMBERS = 3


def improve(
    objective: Objective,
    start: MixtureParameters,
    result: SolverResult,
    settings: SolverSettings,
    on_step: OnStep,
) -> SolverResult:
    """Continue a result of EM by moves until none lowers the cost.

    ``max_iter`` bounds each stretch of EM, not their sum. The steps of candidates
    that are not kept are not part of the result.

    Parameters
    ----------
    objective : Objective
    start : MixtureParameters
        Where EM began.
    result : SolverResult
    settings : SolverSettings
    on_step : OnStep
    """
    if settings.max_iter == 0:
        return result
    search = Search(objective, settings)
    reached = objective.evaluate(result.parameters)
    chain = [reached]
    converged = search.descend(chain)
    # Targets that are held belong to one way down.
    alone = objective.hold(start) is None and not search.swaps
    others: list[list[State]] = []
    if alone and len(start.weights) <= MOST_ON_A_PATH:
        others = _others(objective, reached, len(start.weights))
        search = replace(search, pool=_of_all_sizes(others[-1]))
    converged = search.improve(chain, converged)
    for starts in others:
        other, done = _lowest(search, starts)
        done = search.improve(other, done)
        if _is_better(search, other[-1], chain[-1]):
            chain += [state for state in other if state.cost < chain[-1].cost]
            converged = done
    if chain[0] is not reached:
        # What was left out was worth more than what the steps after it have gained.
        chain = [reached, *chain]
    return _continued(result, chain, converged, on_step)


def _others(objective: Objective, state: State, n_components: int) -> list[list[State]]:
    """Return other mixtures to descend from, with what they cost.

    One that is grown from a single component, and the members of the path from there.
    """
    uncharged = objective.edits.uncharged()
    start = grown(uncharged, state, n_components)
    settings = SolverSettings(_TOL, _MAX_ITER, learning_rate=0.0)
    path = homotopy(uncharged.objective, start, settings)
    members = [uncharged.charged(member) for member in path]
    return [[objective.evaluate(start)], members]


def _lowest(search: Search, starts: list[State]) -> tuple[list[State], bool]:
    """Return the lowest of the chains from the cheapest of some mixtures.

    And whether it has converged.
    """
    chains = [[start] for start in sorted(starts, key=lambda one: one.cost)]
    ends = [(chain, search.descend(chain)) for chain in chains[:_N_MEMBERS]]
    return min(ends, key=lambda end: end[0][-1].cost)


def _is_better(search: Search, other: State, one: State) -> bool:
    """Tell whether a mixture costs less, and has no more components on few samples."""
    n_weak = search.objective.edits.weak.count
    below = min(search.below(one), one.cost - _SAME)
    return other.cost < below and n_weak(other) <= n_weak(one)


def _of_all_sizes(path: list[State]) -> tuple[MixtureParameters, ...]:
    """Return mixtures of a path, each with half as many components as the last."""
    found = []
    most = math.inf
    for member in path:
        if member.n_components <= most:
            found.append(member.parameters)
            most = member.n_components // 2
    return tuple(found)


def _continued(
    result: SolverResult, chain: list[State], converged: bool, on_step: OnStep
) -> SolverResult:
    """Return the result of EM with the states that were kept after it.

    A result holds costs of what its steps started from, and the mixture after the
    last of them: that is the last state. Where components that only luck pays for were
    left out the cost has risen; steps that were below then are no part of the result.
    """
    kept = list(zip(result.costs, result.log_likelihoods, strict=True))
    last, parameters = result.costs[-1], chain[-1].parameters
    for n_more, (before, after) in enumerate(pairwise(chain), 1):
        fall, last = last - before.cost, before.cost
        kept.append((before.cost, before.log_likelihood))
        if rises(before, after):
            kept = [costs for costs in kept if costs[0] >= after.cost]
            last = kept[-1][0] if kept else math.inf
        n_steps, done = len(result.costs) + n_more, after is chain[-1]
        if on_step(n_steps, fall, computed(after.parameters), done):
            parameters, converged = after.parameters, converged and done
            break
    costs, log_likelihoods = tuple(zip(*kept, strict=True)) or ((), ())
    return SolverResult(parameters, costs, log_likelihoods, converged)
