"""From many components to one, each mixture the start of the next."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

from sklearn_keops_gmm._model import MixtureParameters, State
from sklearn_keops_gmm.solvers._local import merge_best
from sklearn_keops_gmm.solvers._moves import Search
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings

# So often targets of covariances are renewed at most.
_RENEWALS = 30
# So many mergers are tried, the best by their estimates, for so many EM steps: what
# more of either gains is below what the next merger changes.
_N_CANDIDATES, _TRIAL_STEPS = 2, 2
# Of more components mergers are tried on the samples that they touch. A stretch of EM on
# all samples follows when one in so many is gone.
_FEW, _STRETCH = 16, 5


def homotopy(
    objective: Objective, start: MixtureParameters, settings: SolverSettings
) -> Iterator[State]:
    """Yield mixtures of maximum likelihood, each with one component less.

    Of the best mergers of two components that which loses least likelihood in a few
    EM steps is the start of the next. Going down from too many components finds
    better optima than starting afresh with few: those that stay are where they are
    needed. Targets of covariances are renewed at each mixture, and held in between.

    Parameters
    ----------
    objective : Objective
        Without sparsity.
    start : MixtureParameters
        Where EM begins.
    settings : SolverSettings
        `tol` and `max_iter` of each stretch of EM: it ends when by extrapolation less
        is left to gain.
    """
    search = Search(objective, settings)
    chain = [objective.evaluate(objective.hold(start) or start)]
    while True:
        search.settle(chain, settings.tol)
        state = objective.renewed(chain[-1]) or chain[-1]
        yield state
        locally = yield from _merge_locally(objective, state, settings)
        if locally is not None:
            chain = [locally]
            continue
        unions = search.unions(state, _N_CANDIDATES)
        trials = search.trials(unions, n_steps=_TRIAL_STEPS)
        if not trials:
            return
        chain = min(trials, key=lambda trial: trial[-1].cost)


def _merge_locally(
    objective: Objective, state: State, settings: SolverSettings
) -> Generator[State, None, State | None]:
    """Yield mixtures that mergers of few of many components lead to.

    Returns
    -------
    state : State or None
        The last of them, on all samples; None where nothing is to be gained by looking
        at a part of them.
    """
    field = objective.edits.field(state) if state.n_components > _FEW else None
    if field is None:
        return None
    for n_left in reversed(range(state.n_components // _STRETCH)):
        merged = merge_best(field, settings)
        if merged is None:
            return None
        field = merged
        if n_left > 0:
            yield field.state
    return objective.evaluate(field.state.parameters)


def refine(
    objective: Objective,
    state: State,
    settings: SolverSettings,
    target: float = math.inf,
) -> State:
    """Return where a mixture converges, under targets that hardly move any more.

    Parameters
    ----------
    objective : Objective
    state : State
    settings : SolverSettings
        `tol` and `max_iter` of each stretch of EM.
    target : float
        A cost. A mixture that is not going to reach it is left where that shows.
    """
    search = Search(objective, settings)
    chain = [state]
    for _ in range(_RENEWALS):
        converged = search.settle(chain, settings.tol, target)
        following = objective.renewed(chain[-1]) if converged else None
        if following is None:
            break
        chain = [following]
    return chain[-1]
