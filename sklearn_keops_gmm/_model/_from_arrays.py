"""Models of arrays that users may change: made anew where they have."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel
from sklearn_keops_gmm._model._parameters import MixtureParameters
from sklearn_keops_gmm._model.covariances import COVARIANCES, CovarianceStructure

# Models of so many bytes are kept, as many of them. To compare larger ones takes about
# as long as to make them anew.
_MOST_BYTES, _MOST_MODELS = 2**18, 128


class _Content(NamedTuple):
    """What is in an array."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def array(self) -> np.ndarray:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


def model_of(
    covariance_type: str,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    precisions_cholesky: np.ndarray,
) -> GaussianMixtureModel:
    """Return the model that arrays describe, whatever their precision.

    Small models are kept: the same content gives the same model, with all that was
    derived from it. The arrays are copied.

    Raises
    ------
    ValueError
        If the covariances are not of that type.
    """
    arrays = weights, means, covariances, precisions_cholesky
    made = COVARIANCES[covariance_type]
    if sum(array.nbytes for array in arrays) > _MOST_BYTES:
        return _model(made, *arrays)
    contents = (_Content(a.dtype.str, a.shape, a.tobytes()) for a in arrays)
    return _kept_model(made, *contents)


# Its lock is Python's own, which a forked child does not inherit locked.
@lru_cache(_MOST_MODELS)
def _kept_model(
    make: Callable[..., CovarianceStructure], *contents: _Content
) -> GaussianMixtureModel:
    return _model(make, *(content.array() for content in contents))


def _model(
    make: Callable[..., CovarianceStructure], *arrays: np.ndarray
) -> GaussianMixtureModel:
    covariance = make()
    shape, found = covariance.shape(*arrays[1].shape), arrays[2].shape
    if found != shape:
        raise ValueError(
            f"covariance_type={covariance.name!r} was set after this mixture was "
            f"fitted with another: covariances_ are of shape {found}, and it "
            f"takes {shape}. Fit it again."
        )
    weights, means, covariances, factors = (
        torch.from_numpy(array.astype(np.float64)) for array in arrays
    )
    parameters = MixtureParameters(weights, means, covariances, factors)
    return GaussianMixtureModel(parameters, covariance)
