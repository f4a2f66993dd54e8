"""A fit: the objective, where it starts, and how it runs."""

from sklearn_keops_gmm._fit._callbacks import CallbackSupport, FitTasks, PathTasks
from sklearn_keops_gmm._fit._folds import (
    Fold,
    check_folds,
    make_folds,
    rows_of,
    rows_that_count,
)
from sklearn_keops_gmm._fit._initialization import STARTS
from sklearn_keops_gmm._fit._known_parameters import KnownParameters
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._online import about, recalled, remembered
from sklearn_keops_gmm._fit._progress import PathProgress
from sklearn_keops_gmm._fit._regularization import (
    n_distinct_rows,
    warn_of_large_ridge,
    warn_of_weak_components,
)
from sklearn_keops_gmm._fit._resampling import bootstrap
from sklearn_keops_gmm._fit._run import (
    FitProblem,
    WarmStart,
    build_problem,
    makes_moves,
    solve,
    starting_point,
)
from sklearn_keops_gmm._fit._supported import check_components_stay
from sklearn_keops_gmm._fit._verbose import PathReporter
from sklearn_keops_gmm._fit._warnings import warn_user

__all__ = [
    "STARTS",
    "CallbackSupport",
    "FitProblem",
    "FitTasks",
    "Fold",
    "KnownParameters",
    "MixtureObjective",
    "PathProgress",
    "PathReporter",
    "PathTasks",
    "WarmStart",
    "about",
    "bootstrap",
    "build_problem",
    "check_components_stay",
    "check_folds",
    "make_folds",
    "makes_moves",
    "n_distinct_rows",
    "recalled",
    "remembered",
    "rows_of",
    "rows_that_count",
    "solve",
    "starting_point",
    "warn_of_large_ridge",
    "warn_of_weak_components",
    "warn_user",
]
