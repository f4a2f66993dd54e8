"""Solvers: functions of an objective and a start, blind to data and devices.

A solver takes ``(objective, start, settings, on_step)`` and returns a
`SolverResult`. It asks the objective for moments, M-steps, gradients or batches and
never learns which backend, device or covariance structure answers.
"""

from sklearn_keops_gmm.solvers._adam import adam
from sklearn_keops_gmm.solvers._descent import check_finite
from sklearn_keops_gmm.solvers._em import ACCELERATIONS, em
from sklearn_keops_gmm.solvers._growth import grown
from sklearn_keops_gmm.solvers._holding import holding
from sklearn_keops_gmm.solvers._homotopy import homotopy, refine
from sklearn_keops_gmm.solvers._improve import MOST_ON_A_PATH
from sklearn_keops_gmm.solvers._lbfgs import lbfgs
from sklearn_keops_gmm.solvers._moves import Search, disjoint_pairs
from sklearn_keops_gmm.solvers._protocol import OnStep, Solver, SolverSettings

SOLVERS: dict[str, Solver] = {"em": em, "adam": adam, "lbfgs": lbfgs}

# Those that differentiate the cost, and so can lower any that torch differentiates.
GRADIENT_SOLVERS = ["adam", "lbfgs"]

__all__ = [
    "ACCELERATIONS",
    "GRADIENT_SOLVERS",
    "MOST_ON_A_PATH",
    "SOLVERS",
    "OnStep",
    "Search",
    "Solver",
    "SolverSettings",
    "adam",
    "check_finite",
    "disjoint_pairs",
    "em",
    "grown",
    "holding",
    "homotopy",
    "lbfgs",
    "refine",
]
