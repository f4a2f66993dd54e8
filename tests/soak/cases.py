"""What a case is: everything about one fit, drawn from one integer."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.common import precisions
from tests.reference import COVARIANCE_TYPES
from tests.soak import data

STARTS = ["kmeans", "k-means++", "random", "random_from_data", "user"]
# So many products a step may take: a case is over in seconds.
_MOST_PRODUCTS = 3e7
_WEIGHTS = ["none", "none", "none", "random", "zeros", "integers", "tiny", "huge"]
_HISTORIES = ["fit", "refit", "warm start", "partial fit", "path", "cv"]


@dataclass(frozen=True)
class Case:
    """One fit.

    Attributes
    ----------
    seed : int
    history : str
        What is done: a fit; that after a fit to tame data; a fit and a warm start or
        steps of `partial_fit` after it; a path, or what chooses from it.
    data : str
        What was done to the points.
    layout : str
        How the user holds them.
    points : ndarray of shape (N, D)
    sample_weight : ndarray of shape (N,) or None
    parameters : dict
        Of the estimator.
    """

    seed: int
    history: str
    data: str
    layout: str
    points: np.ndarray
    sample_weight: np.ndarray | None
    parameters: dict[str, Any]

    def held(self):
        """Return the points and the weights as the user holds them."""
        return data.held(self.layout, self.points, self.sample_weight)

    def described(self):
        """Say all that is needed to see what the case is."""
        n_samples, n_features = self.points.shape
        weights = self.sample_weight
        bounds = None if weights is None else [weights.min(), weights.max()]
        lines = {
            "case": self.seed,
            "history": self.history,
            "data": f"{self.data}, {n_samples} x {n_features} of {self.points.dtype}",
            "range": [self.points.min(), self.points.max()],
            "layout": self.layout,
            "weights": bounds,
            "parameters": {
                name: f"array of shape {np.shape(value)}" if np.ndim(value) else value
                for name, value in self.parameters.items()
            },
        }
        return "\n".join(f"{name}: {value}" for name, value in lines.items())


def draw(seed):
    """Return the case of a seed."""
    rng = np.random.default_rng(seed)
    history = str(rng.choice(_HISTORIES, p=[0.62, 0.12, 0.08, 0.1, 0.04, 0.04]))
    kind = str(rng.choice(["float64", "float32", "integers"], p=[0.6, 0.3, 0.1]))
    dtype = np.float32 if kind == "float32" else np.float64
    structure = str(rng.choice(COVARIANCE_TYPES))
    shape = _shape(rng, structure in ("full", "tied"), history)
    X, name = data.points(rng, *shape[:2], dtype)
    if kind == "integers":
        X = np.clip(np.rint(X * 5), -(2**40), 2**40).astype(np.int64)
    layout = str(rng.choice([*data.WHOLE, *data.IN_PARTS]))
    if kind == "float32" and layout == "lists":
        layout = "plain"  # lists are of Python's floats
    if layout in data.IN_PARTS and shape[2] > 8:
        layout = "plain"  # moves of many components, part by part, take a minute
    weights = data.weights(rng, str(rng.choice(_WEIGHTS)), len(X))
    parameters = _parameters(rng, shape[2], structure, X)
    if history in ("path", "cv"):
        parameters = _of_a_path(rng, parameters)
    elif history == "partial fit" or rng.random() < 0.5:
        parameters |= {"solver": "em"}
    if shape[1] * shape[2] > 200 and "moves" in parameters:
        parameters["moves"] = False  # of many large components they take a minute
    if parameters.get("solver", "em") != "em":
        parameters["acceleration"] = None
    parameters["random_state"] = seed % 2**31
    return Case(seed, history, name, layout, X, weights, parameters)


def _shape(rng, matrices, history):
    """Draw N, D and M: small ones often, large ones not all at once."""
    n_samples = int(2 * 2500 ** rng.random()) - int(rng.random() < 0.01)
    n_features = int(rng.choice([rng.integers(1, 5), rng.integers(1, 41)]))
    most = 8 if history in ("path", "cv") else 30
    n_components = int(min(most, rng.choice([rng.integers(1, 6), 30 ** rng.random()])))
    if n_components > n_samples and rng.random() < 0.9:
        n_components = n_samples  # it is an error, which need not come often
    per_sample = n_components * n_features ** (2 if matrices else 1)
    n_samples = int(min(n_samples, max(2 * n_components, _MOST_PRODUCTS / per_sample)))
    return n_samples, n_features, n_components


def _parameters(rng, n_components, structure, X):
    """Draw the parameters of a fit."""
    start = str(rng.choice(STARTS, p=[0.4, 0.15, 0.15, 0.15, 0.15]))
    with np.errstate(over="ignore"):
        variance = float(np.median(np.var(X.astype(float), axis=0)))
    relative = 1e-2 * variance if 0 < variance < 1e300 else 1e-2
    parameters = {
        "n_components": n_components,
        "covariance_type": structure,
        "solver": str(rng.choice(["em", "lbfgs", "adam"])),
        "acceleration": rng.choice([None, None, "squarem"]),
        "sparsity": float(rng.choice([0.0, 0.0, 0.3, 3.0, 50.0])),
        "moves": bool(rng.random() < 0.6),
        "tol": float(rng.choice([1e-3, 1e-5, 0.0], p=[0.7, 0.2, 0.1])),
        "reg_covar": float(rng.choice([0.0, 1e-6, relative])),
        "max_iter": int(rng.choice([0, 1, 2, 100], p=[0.05, 0.1, 0.1, 0.75])),
        "n_init": int(rng.choice([1, 1, 1, 2])),
        "backend": str(rng.choice(["auto", "auto", "torch"])),
    }
    if start != "user":
        return parameters | {"init_params": start}
    return parameters | _user_start(rng, n_components, structure, X, variance)


def _user_start(rng, n_components, structure, X, variance):
    """Draw initial arrays: rows for means, and the spread of the data."""
    raw = rng.random(n_components) + 0.05
    rows = rng.integers(len(X), size=n_components)
    given = {"weights_init": raw / raw.sum(), "means_init": X[rows].astype(float)}
    if rng.random() < 0.5 and 1e-300 < variance < 1e300:
        given["precisions_init"] = precisions(
            structure, 1 / variance, n_components, X.shape[1]
        )
    return given


def _of_a_path(rng, parameters):
    """Keep the parameters that a path and what chooses from it take."""
    names = "n_components covariance_type tol reg_covar max_iter init_params backend"
    kept = {name: parameters[name] for name in names.split() if name in parameters}
    # A path goes through many fits.
    return kept | {"max_iter": min(20, kept["max_iter"])}
