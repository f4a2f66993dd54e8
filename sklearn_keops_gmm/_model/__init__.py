"""Values: parameters of mixtures, covariances, priors, criteria."""

from sklearn_keops_gmm._model._conditionals import (
    CONDITIONALS,
    Conditionals,
    conditionals_of,
)
from sklearn_keops_gmm._model._criteria import CRITERIA, Evidence
from sklearn_keops_gmm._model._frame import power_of_two, reach_of_most, unit_of
from sklearn_keops_gmm._model._from_arrays import model_of
from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel
from sklearn_keops_gmm._model._linkage import (
    LINKAGES,
    TileFunction,
    indicators,
    label_shares,
    products,
)
from sklearn_keops_gmm._model._merge_tree import MergeTree
from sklearn_keops_gmm._model._mixture_edits import (
    neighbouring_pairs,
    neighbouring_pairs_of,
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
    ComponentPrice,
    PooledCovariances,
    Prior,
    PriorFunction,
    Priors,
    SparsityPrior,
    Unknowns,
    UserPrior,
)
from sklearn_keops_gmm._model._regression import Regression
from sklearn_keops_gmm._model._state import State

__all__ = [
    "CONDITIONALS",
    "CRITERIA",
    "LINKAGES",
    "ComponentPrice",
    "Components",
    "Conditionals",
    "CostTerms",
    "Evaluation",
    "Evidence",
    "Frame",
    "GaussianMixtureModel",
    "LazyParameters",
    "Leap",
    "MergeTree",
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
    "State",
    "Structure",
    "Targets",
    "TileFunction",
    "Unknowns",
    "UserPrior",
    "conditionals_of",
    "indicators",
    "label_shares",
    "model_of",
    "neighbouring_pairs",
    "neighbouring_pairs_of",
    "power_of_two",
    "products",
    "reach_of_most",
    "select_components",
    "split_component",
    "unit_of",
    "without_components",
]
