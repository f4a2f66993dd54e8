"""Pictures of mixtures and of their fits, in scikit-learn's Display convention.

A display holds the data of a picture, ``from_estimator`` gathers and draws them, and
``plot`` draws them again. Only drawing imports matplotlib.
"""

from sklearn_keops_gmm._display._cost import CostDisplay
from sklearn_keops_gmm._display._criterion import CriterionDisplay
from sklearn_keops_gmm._display._merge import MergeDisplay
from sklearn_keops_gmm._display._mixture import MixtureDisplay
from sklearn_keops_gmm._display._pairs import PairsDisplay
from sklearn_keops_gmm._display._path import SparsityPathDisplay

__all__ = [
    "CostDisplay",
    "CriterionDisplay",
    "MergeDisplay",
    "MixtureDisplay",
    "PairsDisplay",
    "SparsityPathDisplay",
]
