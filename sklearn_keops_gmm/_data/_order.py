"""The order of a mixture's components, which a fit leaves to chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind, to_numpy
from sklearn_keops_gmm._data._fitted import fitted_model
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# Attributes of a mixture, and what its steps of online EM remember, by whether they
# hold covariances.
_OF_COMPONENTS = {
    "weights_": False,
    "means_": False,
    "covariances_": True,
    "precisions_": True,
    "precisions_cholesky_": True,
}

_INITIAL = {"weights_init": False, "means_init": False, "precisions_init": True}

# By name: what returns numbers, (M,) or (M, K), by which components ascend.
_KEYS: dict[str, Callable[[Any], Any]] = {
    "weights": lambda mixture: -to_numpy(mixture.weights_),
    "means": lambda mixture: mixture.means_,
}

SortKey = str | Callable[[Any], ArrayLike]


def reordered(mixture: Any, by: SortKey) -> dict[str, Any]:
    """Return what belongs to the components of a fitted mixture in another order.

    Parameters
    ----------
    mixture : estimator
    by : {"weights", "means"} or callable
        Returns numbers by which components ascend.

    Raises
    ------
    ValueError
        If `by` is none of these, or returns no number for each component.
    """
    covariance = fitted_model(mixture).covariance
    order = torch.from_numpy(_order(mixture, by))
    kind = ArrayKind.of(mixture.means_)
    found = {}
    for name, of_covariances in _OF_COMPONENTS.items():
        array = torch.as_tensor(to_numpy(getattr(mixture, name)))
        chosen = covariance.select(array, order) if of_covariances else array[order]
        found[name] = kind.wrap(chosen)
    if mixture.n_components == len(order):
        found |= _given(mixture, covariance, order)
    memory = vars(mixture).get("_memory")
    if memory is not None:
        found["_memory"] = memory | _remembered(memory, covariance, order)
    return found


def _given(
    mixture: Any, covariance: CovarianceStructure, order: Tensor
) -> dict[str, Any]:
    """Return the parameters that speak of components, in another order.

    A fit that starts from the mixture, or from where that started, means the same ones.
    """
    found: dict[str, Any] = {}
    for name, of_covariances in _INITIAL.items():
        given = getattr(mixture, name)
        if given is not None:
            array = torch.from_numpy(np.array(to_numpy(given)))
            chosen = covariance.select(array, order) if of_covariances else array[order]
            found[name] = chosen.numpy()
    if isinstance(mixture.frozen, Mapping):
        masks = {name: np.array(to_numpy(m)) for name, m in mixture.frozen.items()}
        found["frozen"] = {
            name: mask[order.numpy()] if mask.ndim else mask
            for name, mask in masks.items()
        }
    return found


def _remembered(
    memory: dict[str, Any], covariance: CovarianceStructure, order: Tensor
) -> dict[str, np.ndarray]:
    """Return the moments that online EM keeps, in another order."""
    moments = {"mass": False, "first": False, "second": True}
    found = {}
    for name in moments.keys() & memory.keys():
        array = torch.from_numpy(memory[name])
        select = covariance.select_second if moments[name] else Tensor.__getitem__
        found[name] = select(array, order).numpy()
    return found


def _order(mixture: Any, by: SortKey) -> np.ndarray:
    """Return the components, (M,), in the order that is asked for."""
    key = by if callable(by) else _KEYS.get(by) if isinstance(by, str) else None
    if key is None:
        raise ValueError(
            f"by={by!r} is no order of components. Accepted are 'weights', 'means', or "
            "a callable that takes the mixture and returns a number for each component."
        )
    n_components = len(mixture.means_)
    keys = np.asarray(to_numpy(key(mixture)))
    numbers = keys.dtype.kind in "buif" and not np.isnan(keys).any()
    if not numbers or keys.ndim not in (1, 2) or len(keys) != n_components:
        raise ValueError(
            f"by(mixture) has to return a number for each of the {n_components} "
            f"components, or a row of numbers, but it returned {_described(keys)}."
        )
    # The last key counts most.
    return np.lexsort(keys.reshape(n_components, -1).T[::-1])


def _described(keys: np.ndarray) -> str:
    if keys.dtype.kind in "buif" and keys.ndim > 0:
        nan = " with NaN" if np.isnan(keys).any() else ""
        return f"an array of shape {keys.shape}{nan}"
    return repr(keys.tolist())
