"""Backends: the only code that touches pairs of samples and components.

A backend binds a data set and then answers, for any components, the reductions
of `Reductions`. ``"native"`` is loops in C++, for CPUs; ``"torch"`` multiplies
matrices tile by tile and works everywhere; ``"keops"`` compiles one kernel per
formula, number of features and dtype.
"""

from sklearn_keops_gmm.backends._above import rows_above
from sklearn_keops_gmm.backends._beside import Beside
from sklearn_keops_gmm.backends._choice import BACKENDS, choose_backend, get_backend
from sklearn_keops_gmm.backends._incomplete import (
    IncompleteBackend,
    IncompleteReductions,
    has_missing,
    suited_to,
)
from sklearn_keops_gmm.backends._kmeans import choose_seeds, find_clusters
from sklearn_keops_gmm.backends._labelled import LabelledBackend, LabelledReductions
from sklearn_keops_gmm.backends._native import (
    NearestMeans,
    TruncatedBackend,
    TruncatedReductions,
)
from sklearn_keops_gmm.backends._noise import (
    NoiseBackend,
    NoiseReductions,
    beside_noise,
)
from sklearn_keops_gmm.backends._openmp import openmp_of_others, single_thread
from sklearn_keops_gmm.backends._protocol import (
    Backend,
    MStep,
    Reductions,
    ReductionsFactory,
    compiled_m_step,
    sparse_weights_by,
)
from sklearn_keops_gmm.backends._warnings import warn_user

__all__ = [
    "BACKENDS",
    "Backend",
    "Beside",
    "IncompleteBackend",
    "IncompleteReductions",
    "LabelledBackend",
    "LabelledReductions",
    "MStep",
    "NearestMeans",
    "NoiseBackend",
    "NoiseReductions",
    "Reductions",
    "ReductionsFactory",
    "TruncatedBackend",
    "TruncatedReductions",
    "beside_noise",
    "choose_backend",
    "choose_seeds",
    "compiled_m_step",
    "find_clusters",
    "get_backend",
    "has_missing",
    "openmp_of_others",
    "rows_above",
    "single_thread",
    "sparse_weights_by",
    "suited_to",
    "warn_user",
]
