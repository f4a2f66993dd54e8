"""The native backend: C++ loops over tiles that stay in the cache of a core.

Everything about a pair is computed from differences x_i - m_j, in one pass over a
tile and without intermediate arrays in memory. The loops are compiled with the
package, once for each kind of processor; where that was not possible there is no
such backend.
"""

from sklearn_keops_gmm.backends._native._incomplete import NativeIncompleteRows
from sklearn_keops_gmm.backends._native._kmeans import (
    native_kmeans,
    native_kmeans_plusplus,
)
from sklearn_keops_gmm.backends._native._modules import (
    check_native_available,
    native_is_available,
)
from sklearn_keops_gmm.backends._native._reductions import NativeReductions

__all__ = [
    "NativeIncompleteRows",
    "NativeReductions",
    "check_native_available",
    "native_is_available",
    "native_kmeans",
    "native_kmeans_plusplus",
]
