"""A start that takes the best components of several mixtures."""

from __future__ import annotations

import math
from dataclasses import replace

from numpy.random import RandomState

from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._user_start import NOTHING_GIVEN
from sklearn_keops_gmm._model import MixtureParameters, State, join_mixtures
from sklearn_keops_gmm.solvers import (
    Search,
    SolverSettings,
    disjoint_pairs,
    homotopy,
    refine,
)

# At most so many mixtures are joined with the best, and so many in a row in vain.
_ROUNDS, _PATIENCE = 6, 3
# So many pairs for each component are merged at once, where two have found the same.
_AT_ONCE = 0.7
# Mixtures on the way down have converged when so much is left to gain, those that are
# compared when this is.
_WAY = SolverSettings(5e-3, 100, learning_rate=0.0)
_END = SolverSettings(1e-4, 100, learning_rate=0.0)


def recombined(
    problem: StartData,
    objective: MixtureObjective,
    start: MixtureParameters,
    random_state: RandomState,
) -> MixtureParameters:
    """Return a mixture of as many components, which costs no more than the start.

    The components of the best mixture and those of another start by k-means are taken
    together, and merged down to as many as before: of both those stay that are needed.
    That is a crossover, of which Pernkopf and Bouchaffra ("Genetic-based EM algorithm
    for learning Gaussian mixture models", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 27, 2005) draw at random which components it takes. What it
    leads to is the best mixture if it costs less, but not for having more components on
    few samples: there the likelihood has no maximum.

    Parameters
    ----------
    problem : StartData
    objective : MixtureObjective
        The cost on the samples that starts see.
    start : MixtureParameters
    random_state : RandomState
    """
    best = _refined(objective, start)
    n_vain = 0
    for _ in range(_ROUNDS):
        found = _crossed(problem, objective, best, random_state)
        if found is not None and _is_better(objective, found, best):
            best, n_vain = found, 0
        else:
            n_vain += 1
        if n_vain == _PATIENCE:
            break
    return replace(best.parameters, targets=None)


def _refined(objective: MixtureObjective, start: MixtureParameters) -> State:
    held = objective.hold(start) or start
    return refine(objective, objective.evaluate(held), _END)


def _crossed(
    problem: StartData,
    objective: MixtureObjective,
    best: State,
    random_state: RandomState,
) -> State | None:
    """Return what a mixture and another start lead to; None if components collapse."""
    ridge = objective.ridge
    try:
        other = initialize(problem, "kmeans", NOTHING_GIVEN, ridge, random_state)
        both = join_mixtures(objective.covariance, best.parameters, other.normalised())
        larger = replace(objective, n_components=len(both.weights))
        fewer = _without_twins(larger, both, int(_AT_ONCE * best.n_components))
        for state in homotopy(larger, fewer, _WAY):
            if state.n_components <= best.n_components:
                target = math.inf if _n_singular(objective, best) else best.cost
                return refine(objective, state, _END, target)
    except ValueError:
        pass
    return None


def _without_twins(
    objective: MixtureObjective, both: MixtureParameters, n_pairs: int
) -> MixtureParameters:
    """Return a mixture where EM leads with its closest components merged."""
    search = Search(objective, _WAY)
    chain = [objective.evaluate(objective.hold(both) or both)]
    search.settle(chain, _WAY.tol)
    pairs, losses, _ = objective.edits.merger_estimates(chain[-1])
    twins = disjoint_pairs(pairs[losses.argsort(stable=True)])[:n_pairs]
    return objective.edits.merged(chain[-1], twins)


def _is_better(objective: MixtureObjective, found: State, best: State) -> bool:
    """Tell whether a mixture costs less, or has fewer singular components."""
    n_found, n_best = _n_singular(objective, found), _n_singular(objective, best)
    return (n_found, found.cost) < (n_best, best.cost)


def _n_singular(objective: MixtureObjective, state: State) -> int:
    """Count the components on too few samples, where that leaves no maximum."""
    # Pooled covariances are bounded, however few samples there are.
    return 0 if objective.prior.pools else objective.edits.weak.count(state)
