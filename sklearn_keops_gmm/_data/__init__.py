"""Samples, however they are held: what fits and answers read them through."""

from sklearn_keops_gmm._data._arrays import (
    TAKES_TENSORS,
    ArrayKind,
    to_numpy,
    to_tensor,
)
from sklearn_keops_gmm._data._checks import (
    SETTINGS,
    all_or_nothing,
    check_positive,
    check_representable,
    check_values,
    check_weighted_samples,
    resolve_features,
    resolve_init_size,
)
from sklearn_keops_gmm._data._chunk_source import ChunkSource
from sklearn_keops_gmm._data._chunks import Chunk
from sklearn_keops_gmm._data._component_labels import check_component_labels
from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._fitted import (
    FittedChecks,
    Placement,
    attributes_of,
    check_without_noise,
    fitted_model,
    forget_noise,
    has_noise,
    keep_settings,
    no_history,
)
from sklearn_keops_gmm._data._frame import Extent
from sklearn_keops_gmm._data._groups import GroupMeans, Groups
from sklearn_keops_gmm._data._imputation import impute, means_given
from sklearn_keops_gmm._data._information import find_standard_errors
from sklearn_keops_gmm._data._input import checked_samples, is_plain
from sklearn_keops_gmm._data._order import reordered
from sklearn_keops_gmm._data._query import (
    Bound,
    OfObserved,
    SampleFunction,
    labels,
    log_density,
    log_density_of_observed,
    responsibilities,
    responsibilities_for,
)
from sklearn_keops_gmm._data._source import SOURCES, Source, as_source
from sklearn_keops_gmm._data._summary import summarise

__all__ = [
    "SETTINGS",
    "SOURCES",
    "TAKES_TENSORS",
    "ArrayKind",
    "Bound",
    "Chunk",
    "ChunkSource",
    "Data",
    "Extent",
    "FittedChecks",
    "GroupMeans",
    "Groups",
    "OfObserved",
    "Placement",
    "SampleFunction",
    "Source",
    "all_or_nothing",
    "as_source",
    "attributes_of",
    "check_component_labels",
    "check_positive",
    "check_representable",
    "check_values",
    "check_weighted_samples",
    "check_without_noise",
    "checked_samples",
    "find_standard_errors",
    "fitted_model",
    "forget_noise",
    "has_noise",
    "impute",
    "is_plain",
    "keep_settings",
    "labels",
    "log_density",
    "log_density_of_observed",
    "means_given",
    "no_history",
    "reordered",
    "resolve_features",
    "resolve_init_size",
    "responsibilities",
    "responsibilities_for",
    "summarise",
    "to_numpy",
    "to_tensor",
]
