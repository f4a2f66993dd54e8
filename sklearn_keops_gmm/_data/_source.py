"""How samples are held, whole, in pieces or in partitions, and what that changes.

Whoever takes samples asks here, and need not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import _num_samples

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._chunks import in_pieces, joined, mean_of_pieces
from sklearn_keops_gmm._data._dask import in_partitions, lazily, mean_of_partitions
from sklearn_keops_gmm._data._dask_fit import read_partitioned
from sklearn_keops_gmm._data._dataset import Data, read_data
from sklearn_keops_gmm._data._query import SampleFunction
from sklearn_keops_gmm._data._stream import read_streamed


def holding_of(X: Any) -> str:
    """Return how samples are held: ``"whole"``, ``"pieces"`` or ``"partitions"``."""
    if in_partitions(X):
        return "partitions"
    return "pieces" if in_pieces(X) else "whole"


def read(
    mixture: Any,
    X: Any,
    sample_weight: ArrayLike | None,
    *,
    min_samples: int | None = None,
    reset: bool = True,
) -> Data:
    """Check samples and weights for a fit; those of `read_data`, however held."""
    how: dict[str, Callable[..., Data]] = {
        "whole": read_data,
        "pieces": read_streamed,
        "partitions": read_partitioned,
    }
    reading = how[holding_of(X)]
    return reading(mixture, X, sample_weight, min_samples=min_samples, reset=reset)


def count(X: Any, data: Data) -> int:
    """Return how many samples there are, if in parts those of positive weight."""
    return _num_samples(X) if holding_of(X) == "whole" else data.n_samples


def map_samples(question: SampleFunction, X: Any) -> Any:
    """Return a question's answers for all samples: for a dask collection lazily."""
    how: dict[str, Callable[[SampleFunction, Any], Any]] = {
        "whole": SampleFunction.__call__,
        "pieces": joined,
        "partitions": lazily,
    }
    return how[holding_of(X)](question, X)


def weighted_mean(
    question: SampleFunction, X: Any, sample_weight: ArrayLike | None
) -> tuple[float, float]:
    """Return the weighted mean of the answers, and the sum of the weights."""
    how: dict[str, Callable[[SampleFunction, Any, Any], tuple[float, float]]] = {
        "whole": SampleFunction.mean,
        "pieces": mean_of_pieces,
        "partitions": mean_of_partitions,
    }
    return how[holding_of(X)](question, X, sample_weight)


def weights_of(X: Any, sample_weight: Any) -> np.ndarray | None:
    """Return the weights of all samples, (N,), however they are held."""
    if sample_weight is None:
        return None
    if holding_of(X) == "pieces" and not hasattr(X, "shape"):
        weights = np.concatenate([to_numpy(some) for some in sample_weight])
        return weights.astype(np.float64)
    return np.asarray(to_numpy(sample_weight), dtype=np.float64)
