"""Samples, however they are held: what fits and answers read them through."""

from sklearn_keops_gmm._data._arrays import (
    TAKES_TENSORS,
    ArrayKind,
    to_numpy,
    to_tensor,
)
from sklearn_keops_gmm._data._checks import (
    all_or_nothing,
    check_representable,
    check_values,
    check_weighted_samples,
    resolve_features,
    resolve_init_size,
)
from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._fitted import FittedChecks, Placement, fitted_model
from sklearn_keops_gmm._data._frame import Extent
from sklearn_keops_gmm._data._groups import GroupMeans, Groups
from sklearn_keops_gmm._data._input import checked_samples
from sklearn_keops_gmm._data._query import (
    Bound,
    SampleFunction,
    conditional_means,
    labels,
    log_density,
    responsibilities,
    responsibilities_for,
)
from sklearn_keops_gmm._data._source import (
    count,
    holding_of,
    map_samples,
    read,
    weighted_mean,
    weights_of,
)

__all__ = [
    "TAKES_TENSORS",
    "ArrayKind",
    "Bound",
    "Data",
    "Extent",
    "FittedChecks",
    "GroupMeans",
    "Groups",
    "Placement",
    "SampleFunction",
    "all_or_nothing",
    "check_representable",
    "check_values",
    "check_weighted_samples",
    "checked_samples",
    "conditional_means",
    "count",
    "fitted_model",
    "holding_of",
    "labels",
    "log_density",
    "map_samples",
    "read",
    "resolve_features",
    "resolve_init_size",
    "responsibilities",
    "responsibilities_for",
    "to_numpy",
    "to_tensor",
    "weighted_mean",
    "weights_of",
]
