"""Gaussian mixtures for scikit-learn, fitted by reductions that never hold N x M.

`KeOpsGaussianMixture` is used like `sklearn.mixture.GaussianMixture`, and takes a
sparsity prior that lets the fit decide how many components live. `MixtureClustering`
merges components into clusters, and `GaussianMixtureImputer` fills in what is missing.
"""

import sys

from sklearn_keops_gmm._clustering import MixtureClustering
from sklearn_keops_gmm._display import (
    CostDisplay,
    CriterionDisplay,
    MergeDisplay,
    MixtureDisplay,
    PairsDisplay,
    SparsityPathDisplay,
)
from sklearn_keops_gmm._imputer import GaussianMixtureImputer
from sklearn_keops_gmm._interop import publish
from sklearn_keops_gmm._mixture import KeOpsGaussianMixture
from sklearn_keops_gmm._mixture_cv import KeOpsGaussianMixtureCV
from sklearn_keops_gmm._model import BootstrapResult, MixtureSummary, StandardErrors
from sklearn_keops_gmm._sparsity_path import SparsityPath, sparsity_path

__version__ = "0.1.0.dev0"

__all__ = [
    "BootstrapResult",
    "CostDisplay",
    "CriterionDisplay",
    "GaussianMixtureImputer",
    "KeOpsGaussianMixture",
    "KeOpsGaussianMixtureCV",
    "MergeDisplay",
    "MixtureClustering",
    "MixtureDisplay",
    "MixtureSummary",
    "PairsDisplay",
    "SparsityPath",
    "SparsityPathDisplay",
    "StandardErrors",
    "sparsity_path",
]

publish(sys.modules[__name__])
