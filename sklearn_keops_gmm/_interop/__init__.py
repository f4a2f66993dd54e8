"""scikit-learn's mixture, saved files, links to the documentation."""

from sklearn_keops_gmm._interop._documentation import documentation_address
from sklearn_keops_gmm._interop._persistence import from_state, to_state
from sklearn_keops_gmm._interop._public import publish
from sklearn_keops_gmm._interop._sklearn import from_sklearn, to_sklearn

__all__ = [
    "documentation_address",
    "from_sklearn",
    "from_state",
    "publish",
    "to_sklearn",
    "to_state",
]
