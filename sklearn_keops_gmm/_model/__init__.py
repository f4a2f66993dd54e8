"""Values: parameters of mixtures, covariances, priors, criteria."""

from sklearn_keops_gmm._model._conditionals import (
    CONDITIONALS,
    Conditionals,
    conditionals_of,
)
from sklearn_keops_gmm._model._criteria import (
    CRITERIA,
    Evidence,
    best_row,
    comparison_table,
    tied_rows,
)
from sklearn_keops_gmm._model._envelope import lower_envelope
from sklearn_keops_gmm._model._errors import (
    BootstrapResult,
    NoMaximumError,
    StandardErrors,
    matched,
    noise_weights_of,
    standard_errors_of,
)
from sklearn_keops_gmm._model._frame import power_of_two, unit_of_points
from sklearn_keops_gmm._model._from_arrays import model_of
from sklearn_keops_gmm._model._gaussian_mixture import (
    GaussianMixtureModel,
    components_of,
)
from sklearn_keops_gmm._model._information import (
    ComponentCoordinates,
    InformationSums,
)
from sklearn_keops_gmm._model._known_priors import FrozenParameters, PseudoSamples
from sklearn_keops_gmm._model._linkage import (
    LINKAGES,
    TileFunction,
    indicators,
    label_shares,
    products,
)
from sklearn_keops_gmm._model._merge_tree import MergeTree
from sklearn_keops_gmm._model._mixture_edits import (
    add_component,
    join_mixtures,
    neighbouring_pairs,
    neighbouring_pairs_of,
    select_components,
    split_component,
    spreads_of,
    without_components,
)
from sklearn_keops_gmm._model._noise import AllNoiseError, UniformNoise, span_in_box
from sklearn_keops_gmm._model._parameters import (
    Components,
    CostTerms,
    Evaluation,
    Frame,
    LazyParameters,
    Leap,
    MixtureParameters,
    Moments,
    Pull,
    Ridge,
    RootPrice,
    Rounding,
    SolverResult,
    Structure,
    Targets,
)
from sklearn_keops_gmm._model._priors import (
    ComponentPrice,
    Frozen,
    PooledCovariances,
    Prior,
    PriorFunction,
    Priors,
    SparsityPrior,
    Unknowns,
    UserPrior,
)
from sklearn_keops_gmm._model._regression import Regression
from sklearn_keops_gmm._model._span import Span
from sklearn_keops_gmm._model._sparse_weights import WeightsOfMass, sparse_weights
from sklearn_keops_gmm._model._state import State
from sklearn_keops_gmm._model._summary import (
    Comparison,
    MixtureSummary,
    SampleSummary,
)
from sklearn_keops_gmm._model._weak_components import (
    on_few_samples,
    say_weak,
    weak_components,
)

__all__ = [
    "CONDITIONALS",
    "CRITERIA",
    "LINKAGES",
    "AllNoiseError",
    "BootstrapResult",
    "Comparison",
    "ComponentCoordinates",
    "ComponentPrice",
    "Components",
    "Conditionals",
    "CostTerms",
    "Evaluation",
    "Evidence",
    "Frame",
    "Frozen",
    "FrozenParameters",
    "GaussianMixtureModel",
    "InformationSums",
    "LazyParameters",
    "Leap",
    "MergeTree",
    "MixtureParameters",
    "MixtureSummary",
    "Moments",
    "NoMaximumError",
    "PooledCovariances",
    "Prior",
    "PriorFunction",
    "Priors",
    "PseudoSamples",
    "Pull",
    "Regression",
    "Ridge",
    "RootPrice",
    "Rounding",
    "SampleSummary",
    "SolverResult",
    "Span",
    "SparsityPrior",
    "StandardErrors",
    "State",
    "Structure",
    "Targets",
    "TileFunction",
    "UniformNoise",
    "Unknowns",
    "UserPrior",
    "WeightsOfMass",
    "add_component",
    "best_row",
    "comparison_table",
    "components_of",
    "conditionals_of",
    "indicators",
    "join_mixtures",
    "label_shares",
    "lower_envelope",
    "matched",
    "model_of",
    "neighbouring_pairs",
    "neighbouring_pairs_of",
    "noise_weights_of",
    "on_few_samples",
    "power_of_two",
    "products",
    "say_weak",
    "select_components",
    "span_in_box",
    "sparse_weights",
    "split_component",
    "spreads_of",
    "standard_errors_of",
    "tied_rows",
    "unit_of_points",
    "weak_components",
    "without_components",
]
