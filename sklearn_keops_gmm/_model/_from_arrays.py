"""Models of arrays that users may change: made anew where they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel
from sklearn_keops_gmm._model._noise import UniformNoise
from sklearn_keops_gmm._model._parameters import MixtureParameters
from sklearn_keops_gmm._model.covariances import COVARIANCES, CovarianceStructure

# So many small models are kept, of at most so many bytes, and so many larger ones.
_SMALL, _N_SMALL = 2**18, 64
_LARGE, _N_LARGE = 2**23, 2
# So many numbers at either end are hashed: all would take longer than to compare them.
_HASHED = 8
# Arrays of a mixture without noise.
_N_ARRAYS = 4


class _Content:
    """What is in an array: compared where it lies, and copied only if it is kept.

    Parameters
    ----------
    array : ndarray
    """

    __slots__ = ("_data", "_hash", "_kind")

    def __init__(self, array: np.ndarray) -> None:
        self._kind = array.dtype.str, array.shape
        self._data: bytearray | np.ndarray = np.ascontiguousarray(array)
        numbers = self._data.reshape(-1)
        ends = numbers[:_HASHED].tobytes(), numbers[-_HASHED:].tobytes()
        self._hash = hash((self._kind, ends))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Content) or self._kind != other._kind:
            return False
        own_is_kept = isinstance(self._data, bytearray)
        kept, given = (self, other) if own_is_kept else (other, self)
        # A bytearray compares itself with the bytes of whatever has some.
        return bool(kept._bytes() == given._data)

    def _bytes(self) -> bytearray:
        return (
            self._data if isinstance(self._data, bytearray) else bytearray(self._data)
        )

    def kept(self) -> np.ndarray:
        """Return the array as it is now, and stay so whatever becomes of it."""
        self._data = self._bytes()
        dtype, shape = self._kind
        return np.frombuffer(self._data, dtype).reshape(shape)


def model_of(
    covariance_type: str,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    precisions_cholesky: np.ndarray,
    *noise: np.ndarray,
) -> GaussianMixtureModel:
    """Return the model that arrays describe, whatever their precision.

    Those of noise, if there is some, are its weight, its log-density, its box, and the
    logarithms of its widths, which older versions did not keep.

    Models are kept, but for the largest: the same content gives the same model, with
    all that was derived from it. The arrays are copied.

    Raises
    ------
    ValueError
        If they are not of shapes that go together, or no numbers of a mixture.
    """
    arrays = weights, means, covariances, precisions_cholesky, *noise
    made = COVARIANCES[covariance_type]
    n_bytes = sum(array.nbytes for array in arrays)
    if n_bytes > _LARGE:
        return _model(made, *arrays)
    contents = map(_Content, arrays)
    kept = _kept_small if n_bytes <= _SMALL else _kept_large
    return kept(made, *contents)


def _model_of_contents(
    make: Callable[..., CovarianceStructure], *contents: _Content
) -> GaussianMixtureModel:
    return _model(make, *(content.kept() for content in contents))


# Their locks are Python's own, which a forked child does not inherit locked.
_kept_small = lru_cache(_N_SMALL)(_model_of_contents)
_kept_large = lru_cache(_N_LARGE)(_model_of_contents)


def _model(
    make: Callable[..., CovarianceStructure], *arrays: np.ndarray
) -> GaussianMixtureModel:
    covariance = make()
    _check_arrays(covariance, *arrays[:_N_ARRAYS])
    weights, means, covariances, factors, *noise = (
        torch.from_numpy(array.astype(np.float64)) for array in arrays
    )
    factors = covariance.upper(factors)
    parameters = MixtureParameters(weights, means, covariances, factors)
    if not noise:
        return GaussianMixtureModel(parameters, covariance)
    noise_weight, log_density, (low, high), *log_widths = noise
    parameters = replace(
        parameters, weights=weights / weights.sum(), noise_weight=float(noise_weight)
    )
    if log_widths:
        found = UniformNoise(low, high, float(log_density), log_widths[0])
    else:
        found = UniformNoise.of_density(low, high, float(log_density))
    model = GaussianMixtureModel(parameters, covariance, found)
    if found.n_dependent == 0:
        return model
    return replace(model, noise=found.spanned(model.total_covariance.numpy()))


def _check_arrays(
    covariance: CovarianceStructure,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    precisions_cholesky: np.ndarray,
) -> None:
    """Raise ValueError if arrays, which users may have changed, are no mixture."""
    own = covariance.shape(*means.shape)
    expected = {
        "weights_": (weights, means.shape[:1]),
        "covariances_": (covariances, own),
        "precisions_cholesky_": (precisions_cholesky, own),
    }
    for name, (array, shape) in expected.items():
        if array.shape != tuple(shape):
            raise ValueError(
                f"{name} is of shape {array.shape}, but with covariance_type="
                f"{covariance.name!r} and means_ of shape {means.shape} it has to be "
                f"of shape {tuple(shape)}: one of them was changed. Fit it again."
            )
    for name, (array, _) in (expected | {"means_": (means, ())}).items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has a NaN or infinity. Fit it again.")
    if (weights < 0).any() or not weights.any():
        raise ValueError(
            "weights_ have to be >= 0, and not all of them 0; got "
            f"{weights.tolist()}. Fit it again."
        )
