"""The cases: types, solvers, backends and dtypes in full, the rest in all pairs."""

import random
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import numpy as np
import torch

from tests import common
from tests.reference import COVARIANCE_TYPES


def narrow_prior(weights: Any, means: Any, factors: Any) -> Any:
    """Charge for precise components."""
    return 0.01 * (factors**2).sum() / len(means)


SOLVERS = {
    "em": {},
    "squarem": {"acceleration": "squarem"},
    "em-sparse": {"sparsity": 3.0},
    "em-unmoved": {"sparsity": 3.0, "moves": False},
    "squarem-sparse": {"sparsity": 3.0, "acceleration": "squarem"},
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs-sparse": {"solver": "lbfgs", "sparsity": 3.0},
    "lbfgs-prior": {"solver": "lbfgs", "prior": narrow_prior},
    "adam": {"solver": "adam"},
    "adam-sparse": {"solver": "adam", "sparsity": 3.0},
    "adam-batches": {"solver": "adam", "batch_size": 30},
}
DATA = {
    "line": lambda: common.iris()[::2, 2:3],
    "plane": lambda: common.blobs(100),
    "far": lambda: common.blobs(100) * 0.1 + 1e3,
    "iris": lambda: common.iris()[::2],
    "wine": lambda: common.wine()[::2, :7],
    "many": lambda: common.blobs(1000),
}
FULL = {
    "type": COVARIANCE_TYPES,
    "solver": tuple(SOLVERS),
    "backend": ("native", "torch"),
    "dtype": ("float32", "float64"),
}
PAIRED = {
    "data": tuple(DATA),
    "start": ("kmeans", "k-means++", "random", "random_from_data", "user"),
    "held": ("whole", "pieces", "dask"),
    "weights": ("equal", "weighted"),
    "n_init": (1, 2),
    "init_size": ("auto", 40),
    "reg_covar": (1e-6, 1e-4),
}
LEVELS = FULL | PAIRED
Case = dict[str, Any]


def grid() -> list[Case]:
    """Return cases that hold each pair of levels, always the same ones."""
    rng = random.Random(0)
    missing = set(pairs_of_levels())
    cases = []
    for levels in product(*FULL.values()):
        full = dict(zip(FULL, levels, strict=True))
        candidates = [full | _drawn(rng) for _ in range(20)]
        best = max(
            candidates,
            key=lambda case: (len(missing & set(pairs(case))), -_dear(case)),
        )
        missing -= set(pairs(best))
        cases.append(best)
    return cases


def _drawn(rng: random.Random) -> Case:
    # Not `choice`, whose stream is no promise of Python's.
    return {name: of[int(rng.random() * len(of))] for name, of in PAIRED.items()}


def _dear(case: Case) -> int:
    """Return how slow a case is: dask's graphs, for moves each of many."""
    moves = case["solver"] in ("em-sparse", "squarem-sparse")
    return (1 + 3 * moves) * (case["held"] == "dask") + (1 + moves) * case["n_init"]


def pairs(case: Case) -> Iterator[Any]:
    """Yield all pairs of levels in a case."""
    return combinations(((name, case[name]) for name in LEVELS), 2)


def pairs_of_levels() -> Iterator[Any]:
    """Yield all pairs of levels that there are."""
    for (a, of_a), (b, of_b) in combinations(LEVELS.items(), 2):
        yield from product(
            [(a, level) for level in of_a], [(b, level) for level in of_b]
        )


def points(name: str, dtype: str) -> np.ndarray:
    """Return a data set in an order of its own, so that its parts are alike."""
    X = DATA[name]()
    return np.random.default_rng(1).permutation(X).astype(dtype)


def weights_for(X: np.ndarray) -> np.ndarray:
    """Return weights, some of them zero."""
    return np.arange(len(X)) % 4 / 2.0


def held_as(how: str, array: np.ndarray | None) -> Any:
    """Return an array as it is, as a list of three, in chunks of dask or as tensor."""
    if array is None or how == "whole":
        return array
    if how == "pieces":
        return np.split(array, [len(array) // 3, len(array) // 2])
    if how == "tensor":
        return torch.tensor(array)
    import dask.array

    rows = len(array) // 2 - 7
    return dask.array.from_array(array, chunks=(rows, *array.shape[1:]))


def parameters(case: Case, X: np.ndarray, n_components: int = 4) -> dict[str, Any]:
    """Return the parameters that a case gives to the estimator."""
    given = {
        "n_components": n_components,
        "covariance_type": case["type"],
        "backend": case["backend"],
        "device": "cpu",
        "max_iter": 8,
        "random_state": 0,
    } | {name: case[name] for name in ("n_init", "init_size", "reg_covar")}
    if case["start"] == "user":
        given |= common.start(X, case["type"], n_components, scale=4.0)
    else:
        given["init_params"] = case["start"]
    return given | SOLVERS[case["solver"]]
