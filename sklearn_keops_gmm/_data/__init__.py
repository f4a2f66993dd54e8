"""Samples, however they are held: what fits and answers read them through."""

from sklearn_keops_gmm._data._arrays import (
    TAKES_TENSORS,
    ArrayKind,
    check_same_namespace,
    to_numpy,
    to_tensor,
)
from sklearn_keops_gmm._data._checks import (
    all_or_nothing,
    check_attributes,
    check_representable,
    check_values,
    check_weighted_samples,
    resolve_device,
    resolve_features,
    resolve_init_size,
)
from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._frame import Extent, frame_of_mixture, power_of_two
from sklearn_keops_gmm._data._input import checked_samples
from sklearn_keops_gmm._data._query import (
    Bound,
    SampleFunction,
    labels,
    log_density,
    responsibilities,
)
from sklearn_keops_gmm._data._source import (
    count,
    holding_of,
    map_samples,
    read,
    weighted_mean,
)

__all__ = [
    "TAKES_TENSORS",
    "ArrayKind",
    "Bound",
    "Data",
    "Extent",
    "SampleFunction",
    "all_or_nothing",
    "check_attributes",
    "check_representable",
    "check_same_namespace",
    "check_values",
    "check_weighted_samples",
    "checked_samples",
    "count",
    "frame_of_mixture",
    "holding_of",
    "labels",
    "log_density",
    "map_samples",
    "power_of_two",
    "read",
    "resolve_device",
    "resolve_features",
    "resolve_init_size",
    "responsibilities",
    "to_numpy",
    "to_tensor",
    "weighted_mean",
]
