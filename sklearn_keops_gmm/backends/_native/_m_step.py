"""The M-step by the compiled module, in one call; sparse weights in another."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model import (
    Components,
    MixtureParameters,
    Moments,
    Pull,
    Ridge,
    RootPrice,
)
from sklearn_keops_gmm._model.covariances import COVARIANCES, CovarianceStructure
from sklearn_keops_gmm.backends._native._modules import native_module
from sklearn_keops_gmm.backends._native._structures import MATRICES
from sklearn_keops_gmm.backends._protocol import MStep

# Matrices of more features are for LAPACK, beside which torch's calls take no time.
_MOST_FEATURES = 32
# Types of covariances that it knows; what is derived from one may do otherwise.
_KNOWN = {
    COVARIANCES[name]: name
    for name in ("full", "tied", "diag", "spherical", "tied_diag", "tied_spherical")
}


def native_m_step(covariance: CovarianceStructure) -> MStep | None:
    """Return the compiled M-step of a structure of covariances, if there is one."""
    name = _KNOWN.get(type(covariance))
    return None if name is None else partial(_m_step, covariance, name)


def _m_step(
    covariance: CovarianceStructure,
    name: str,
    moments: Moments,
    means: Tensor,
    ridge: Ridge,
    weights: Tensor | RootPrice | None = None,
    pull: Pull | None = None,
) -> MixtureParameters | None:
    """Return the mixture that `moments` about `means` define, if it is a plain one."""
    n_components, n_features = means.shape
    if covariance.structure in MATRICES and n_features > _MOST_FEATURES:
        return None
    # Without a ridge components may collapse, which torch's M-step tells of.
    if ridge.size == 0.0 or (pull is not None and covariance.shared):
        return None
    given = (moments.mass, moments.first, moments.second, means)
    pulls: tuple[Tensor | None, ...] = (None, None, None)
    if pull is not None:
        pulls = pull.kept, pull.added, pull.targets.shape
    shape = covariance.shape(n_components, n_features)
    found = [
        np.empty(size)
        for size in (n_components, tuple(means.shape), shape, shape, n_components)
    ]
    module: Any = native_module()
    arrays = (*map(_numbers, given), ridge.array(n_features))
    others = *_weights(weights), *map(_numbers, pulls)
    if not module.m_step(name, *arrays, *others, *found):
        return None
    new_weights, new_means, covariances, factors, offsets = map(torch.from_numpy, found)
    expanded = covariance.expand(factors, n_components)
    components = Components(
        covariance.structure, offsets, new_means, expanded, triangular=True
    )
    return MixtureParameters.known(
        new_weights,
        covariances,
        factors,
        components,
        None if pull is None else pull.targets,
    )


def _weights(weights: Tensor | RootPrice | None) -> tuple[Any, ...]:
    """Return what the module takes for weights: given ones, and what finds others."""
    if isinstance(weights, RootPrice):
        price, start, share, whole = weights
        return None, _numbers(start), price, share, whole
    return _numbers(weights), None, 0.0, 1.0, 0.0


def native_sparse_weights(
    fractions: np.ndarray, start: np.ndarray, price: float
) -> np.ndarray:
    """Return what `_model.sparse_weights` does, but for rounding."""
    weights = np.empty(len(fractions))
    module: Any = native_module()
    given = (np.ascontiguousarray(array) for array in (fractions, start))
    module.sparse_weights(*given, price, weights)
    return weights


def _numbers(array: Tensor | None) -> np.ndarray | None:
    return None if array is None else array.contiguous().numpy()
