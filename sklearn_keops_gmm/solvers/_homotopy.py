"""From many components to one, each mixture the start of the next."""

from __future__ import annotations

from collections.abc import Iterator

from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm.solvers._descent import State, evaluate
from sklearn_keops_gmm.solvers._moves import Search
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings

# So many mergers are tried, the best by their estimates, for so many EM steps: what
# more of either gains is below what the next merger changes.
_N_CANDIDATES, _TRIAL_STEPS = 2, 2


def homotopy(
    objective: Objective, start: MixtureParameters, settings: SolverSettings
) -> Iterator[State]:
    """Yield mixtures of maximum likelihood, each with one component less.

    Of the best mergers of two components that which loses least likelihood in a few
    EM steps is the start of the next. Going down from too many components finds
    better optima than starting afresh with few: those that stay are where they are
    needed.

    Parameters
    ----------
    objective : Objective
        Without sparsity.
    start : MixtureParameters
        Where EM begins.
    settings : SolverSettings
        `tol` and `max_iter` of each stretch of EM.
    """
    search = Search(objective, settings)
    chain = [evaluate(objective, start)]
    while True:
        search.settle(chain, settings.tol)
        yield chain[-1]
        unions = search.unions(chain[-1], _N_CANDIDATES)
        trials = search.trials(unions, n_steps=_TRIAL_STEPS)
        if not trials:
            return
        chain = min(trials, key=lambda trial: trial[-1].cost)
