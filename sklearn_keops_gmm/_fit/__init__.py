"""A fit: the objective, where it starts, and how it runs."""

from sklearn_keops_gmm._fit._callbacks import CallbackSupport, FitTasks, PathTasks
from sklearn_keops_gmm._fit._folds import (
    Fold,
    check_can_hold_out,
    components_in_folds,
    folds_of,
)
from sklearn_keops_gmm._fit._free_features import (
    most_components,
    say_upper_bound,
    say_without_parameters,
)
from sklearn_keops_gmm._fit._frozen import held_parameters
from sklearn_keops_gmm._fit._held import check_held
from sklearn_keops_gmm._fit._initialization import STARTS
from sklearn_keops_gmm._fit._known_parameters import adapted_mixture, known_mixture
from sklearn_keops_gmm._fit._noise import say_without_noise
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._online import online_step, remembered
from sklearn_keops_gmm._fit._path import Member, Path, fold_scores
from sklearn_keops_gmm._fit._path_search import PathSearch
from sklearn_keops_gmm._fit._progress import PathProgress
from sklearn_keops_gmm._fit._regularization import (
    n_distinct_rows,
    warn_of_large_ridge,
    warn_of_weak_components,
)
from sklearn_keops_gmm._fit._resampling import bootstrap
from sklearn_keops_gmm._fit._run import (
    FitProblem,
    build_problem,
    history_of,
    makes_moves,
    solve,
    starting_point,
)
from sklearn_keops_gmm._fit._supported import check_components_stay, has_steps
from sklearn_keops_gmm._fit._verbose import PathReporter
from sklearn_keops_gmm._fit._warm_start import WarmStart, continues, warm_start_of

__all__ = [
    "STARTS",
    "CallbackSupport",
    "FitProblem",
    "FitTasks",
    "Fold",
    "Member",
    "MixtureObjective",
    "Path",
    "PathProgress",
    "PathReporter",
    "PathSearch",
    "PathTasks",
    "WarmStart",
    "adapted_mixture",
    "bootstrap",
    "build_problem",
    "check_can_hold_out",
    "check_components_stay",
    "check_held",
    "components_in_folds",
    "continues",
    "fold_scores",
    "folds_of",
    "has_steps",
    "held_parameters",
    "history_of",
    "known_mixture",
    "makes_moves",
    "most_components",
    "n_distinct_rows",
    "online_step",
    "remembered",
    "say_upper_bound",
    "say_without_noise",
    "say_without_parameters",
    "solve",
    "starting_point",
    "warm_start_of",
    "warn_of_large_ridge",
    "warn_of_weak_components",
]
