"""Small data sets, starts and backends that several test files share."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris, load_wine
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from sklearn_keops_gmm.backends._native import native_is_available
from tests import reference

needs_compiled = pytest.mark.skipif(
    not native_is_available(), reason="the package was installed without a compiler"
)
DENSE_BACKENDS = [pytest.param("native", marks=needs_compiled), "torch"]
BACKENDS = [*DENSE_BACKENDS, pytest.param("keops", marks=pytest.mark.slow)]
SOLVERS = ["em", "adam", "lbfgs"]

# The package works with older versions, but is held to the numbers, the messages and
# the abilities of this one.
IS_NEW = parse_version(sklearn.__version__) >= parse_version("1.9")
new_scikit_learn = pytest.mark.skipif(
    not IS_NEW, reason=f"compares with scikit-learn 1.9, here is {sklearn.__version__}"
)

every_backend = pytest.mark.parametrize("backend", BACKENDS)


@cache
def iris():
    """150 flowers, 4 features."""
    return load_iris().data


@cache
def wine():
    """178 wines, 13 features of unit variance."""
    return StandardScaler().fit_transform(load_wine().data)


@cache
def blobs(n_samples=400):
    """Points of three separated blobs in the plane."""
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    spread = rng.normal(size=(n_samples, 2)) * [1.0, 0.5]
    return centres[rng.integers(3, size=n_samples)] + spread


reads_peak_memory = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(),
    reason="peak memory is read from Linux's /proc",
)


@cache
def spiral(n_samples=500):
    """A noisy spiral in the unit square."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2 * np.pi, n_samples, endpoint=False)
    curve = np.stack((0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t)), axis=1)
    return curve + 0.02 * rng.normal(size=curve.shape)


def precisions(structure, scale, n_components, n_features):
    """Return `scale` times the identity in the shape that `structure` takes."""
    return {
        "full": np.tile(scale * np.eye(n_features), (n_components, 1, 1)),
        "tied": scale * np.eye(n_features),
        "diag": np.full((n_components, n_features), scale),
        "spherical": np.full(n_components, scale),
        "tied_diag": np.full(n_features, scale),
        "tied_spherical": np.full(1, scale),
    }[structure]


def start(X, structure, n_components, *, scale=1.0, seed=0):
    """Return a start as keyword arguments: uniform weights, means among `X`."""
    chosen = np.random.default_rng(seed).choice(len(X), n_components, replace=False)
    return {
        "n_components": n_components,
        "covariance_type": structure,
        "weights_init": np.full(n_components, 1 / n_components),
        "means_init": X[chosen],
        "precisions_init": precisions(structure, scale, n_components, X.shape[1]),
    }


def mixture_of(model):
    """The fitted attributes that define a mixture."""
    return reference.Mixture(model.weights_, model.means_, model.covariances_)


def sorted_far_blobs(weighted, rng):
    """Blobs one after another, far from the origin, and weights of 0, 1 and 2."""
    X = blobs()
    X = X[np.argsort(X @ [1.0, -1.0])] + 1e4
    return X, rng.integers(0, 3, len(X)).astype(float) if weighted else None
