"""Where a fit starts if the user says so: arrays, checked."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from sklearn_keops_gmm._data import is_plain, to_numpy
from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm._model.covariances import CovarianceStructure


@dataclass(frozen=True)
class UserStart:
    """Arrays given by the user, validated, or None where a start has to find them.

    Attributes
    ----------
    weights : ndarray of shape (M,) or None
    means : ndarray of shape (M, D) or None
    precisions : ndarray or None
    """

    weights: np.ndarray | None
    means: np.ndarray | None
    precisions: np.ndarray | None

    def completed(
        self, found: MixtureParameters, covariance: CovarianceStructure
    ) -> UserStart:
        """Return the same with what was `found` where nothing is given."""
        arrays = (self.weights, self.means, self.precisions)
        precisions = covariance.precisions(found.precisions_cholesky)
        tensors = (found.weights, found.means, precisions)
        return UserStart(
            *(
                tensor.cpu().numpy() if array is None else array
                for array, tensor in zip(arrays, tensors, strict=True)
            )
        )


NOTHING_GIVEN = UserStart(None, None, None)


def check_start(
    weights_init: ArrayLike | None,
    means_init: ArrayLike | None,
    precisions_init: ArrayLike | None,
    covariance: CovarianceStructure,
    n_components: int,
    n_features: int,
) -> UserStart:
    """Return the user's initial arrays as float64, or raise ValueError.

    The messages are scikit-learn's.
    """
    weights = means = precisions = None
    if weights_init is not None:
        weights = check_array_of(weights_init, "weights", (n_components,))
        check_simplex(weights)
        weights = weights.astype(np.float64)
    if means_init is not None:
        means = check_array_of(means_init, "means", (n_components, n_features))
        means = means.astype(np.float64)
    if precisions_init is not None:
        shape = covariance.shape(n_components, n_features)
        name = f"{covariance.name} precision"
        precisions = check_array_of(precisions_init, name, shape)
        covariance.check_precisions(precisions)
        precisions = precisions.astype(np.float64)
    return UserStart(weights, means, precisions)


def check_array_of(
    given: ArrayLike, name: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Return an array as float64, or float32 if it is, or raise ValueError.

    Parameters
    ----------
    given : array-like
    name : str
        For messages.
    shape : tuple of int, default=None
        The shape that it has to have; None is any.
    """
    array = to_numpy(given)
    try:
        if isinstance(array, list):
            array = np.asarray(array)
        if not is_plain(array):
            array = check_array(
                array,
                dtype=[np.float64, np.float32],
                ensure_2d=False,
                allow_nd=True,
                input_name=name,
            )
    except (TypeError, ValueError) as error:
        if _holds_numbers(array):
            raise
        raise ValueError(
            f"The parameter '{name}' should be an array of numbers, but got "
            f"{reprlib.repr(given)}"
        ) from error
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, "
            f"but got {array.shape}"
        )
    return array


def _holds_numbers(array: Any) -> bool:
    """Tell whether there are numbers in an array, whatever else is wrong with them."""
    try:
        found = np.asarray(array)
        if found.dtype == object:
            found = found.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return found.ndim > 0 and found.size > 0 and found.dtype.kind in "biuf"


def check_simplex(weights: np.ndarray) -> None:
    """Raise ValueError unless weights are in [0, 1] and sum to 1."""
    if np.any(weights < 0.0) or np.any(weights > 1.0):
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max "
            f"value {weights.max():.5f}, min value {weights.min():.5f}"
        )
    atol = 1e-6 if weights.dtype == np.float32 else 1e-8
    if not np.isclose(weights.sum(), 1.0, rtol=0.0, atol=atol):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got sum(weights) = "
            f"{weights.sum():.5f}"
        )
