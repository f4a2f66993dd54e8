"""Values: parameters of mixtures, covariances, priors, criteria."""

from sklearn_keops_gmm._model._criteria import CRITERIA, Evidence
from sklearn_keops_gmm._model._mixture_edits import (
    neighbouring_pairs,
    select_components,
    split_component,
    without_components,
)
from sklearn_keops_gmm._model._parameters import (
    Components,
    CostTerms,
    Evaluation,
    Frame,
    LazyParameters,
    Leap,
    MixtureParameters,
    Moments,
    Ridge,
    Rounding,
    SolverResult,
    Structure,
    Targets,
)
from sklearn_keops_gmm._model._priors import (
    PooledCovariances,
    Prior,
    PriorFunction,
    Priors,
    SparsityPrior,
    Unknowns,
    UserPrior,
)
from sklearn_keops_gmm._model._regression import Regression, marginal

__all__ = [
    "CRITERIA",
    "Components",
    "CostTerms",
    "Evaluation",
    "Evidence",
    "Frame",
    "LazyParameters",
    "Leap",
    "MixtureParameters",
    "Moments",
    "PooledCovariances",
    "Prior",
    "PriorFunction",
    "Priors",
    "Regression",
    "Ridge",
    "Rounding",
    "SolverResult",
    "SparsityPrior",
    "Structure",
    "Targets",
    "Unknowns",
    "UserPrior",
    "marginal",
    "neighbouring_pairs",
    "select_components",
    "split_component",
    "without_components",
]
