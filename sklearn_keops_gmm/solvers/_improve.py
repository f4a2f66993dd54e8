"""What follows where EM has converged: moves, and other ways to few components.

What EM under a sparsity ends in depends on where it starts: components that are
extinguished early never come back. A path of maximum likelihood that goes down from the
same start keeps those that are needed, whatever they weigh. Its cheapest members are
other places to descend from, and what lies on the path can be added again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from sklearn_keops_gmm._model import MixtureParameters, SolverResult, State
from sklearn_keops_gmm.solvers._homotopy import homotopy
from sklearn_keops_gmm.solvers._moves import Search
from sklearn_keops_gmm.solvers._protocol import (
    Objective,
    OnStep,
    SolverSettings,
    computed,
)

# From more components a path would take longer than the fit.
_MOST = 100
# So much may be left to gain on the path, in so many steps from one member to the next.
_TOL, _MAX_ITER = 1e-3, 100
# So many of its members are followed.
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
    chain = [objective.evaluate(result.parameters)]
    converged = search.descend(chain)
    # Targets that are held belong to one way down.
    alone = objective.hold(start) is None and not search.swaps
    if alone and len(start.weights) <= _MOST:
        path = _members(objective, start)
        converged = _descend_from(search, chain, path, converged)
        search = replace(search, pool=_of_all_sizes(path))
    converged = search.improve(chain, converged)
    return _continued(result, chain, converged, on_step)


def _members(objective: Objective, start: MixtureParameters) -> list[State]:
    """Return the members of a path, with what they cost."""
    uncharged = objective.edits.uncharged()
    settings = SolverSettings(_TOL, _MAX_ITER, learning_rate=0.0)
    path = homotopy(uncharged.objective, start, settings)
    return [uncharged.charged(state) for state in path]


def _descend_from(
    search: Search, chain: list[State], path: list[State], converged: bool
) -> bool:
    """Extend a chain by what the cheapest members of a path lead to, if that is lower.

    Returns
    -------
    converged : bool
    """
    n_weak = search.objective.edits.n_weak
    for member in sorted(path, key=lambda member: member.cost)[:_N_MEMBERS]:
        other, least = [member], chain[-1]
        done = search.descend(other)
        if other[-1].cost < search.below(least) and n_weak(other[-1]) <= n_weak(least):
            chain += [state for state in other if state.cost < least.cost]
            converged = done
    return converged


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
    last of them: that is the last state.
    """
    costs, log_likelihoods = list(result.costs), list(result.log_likelihoods)
    parameters = chain[-1].parameters
    for before, after in pairwise(chain):
        fall = costs[-1] - before.cost
        costs.append(before.cost)
        log_likelihoods.append(before.log_likelihood)
        done = after is chain[-1]
        if on_step(len(costs), fall, computed(after.parameters), done):
            parameters, converged = after.parameters, converged and done
            break
    return SolverResult(parameters, tuple(costs), tuple(log_likelihoods), converged)
