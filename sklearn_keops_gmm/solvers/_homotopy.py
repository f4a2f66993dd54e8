"""From many components to one, each mixture the start of the next."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sklearn_keops_gmm._parameters import MixtureParameters
from sklearn_keops_gmm.solvers._descent import State, evaluate
from sklearn_keops_gmm.solvers._moves import Search
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings


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
        trials = search.trials(search.unions(chain[-1]), target=-math.inf)
        if not trials:
            return
        chain = min(trials, key=lambda trial: trial[-1].cost)
