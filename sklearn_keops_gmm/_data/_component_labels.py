"""Components that some samples are known to be of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._source import Source

_ACCEPTED = (
    "Accepted are integers, one for each sample: that of its component, or -1 where "
    "this is unknown"
)


def with_component_labels(
    data: Data, source: Source, component_labels: Any, n_components: int
) -> Data:
    """Return data that know which components some samples are of.

    Parameters
    ----------
    data : Data
        What was read of the source.
    source : Source
    component_labels : array-like of shape (n_samples,) or None
        -1 where unknown.
    n_components : int

    Raises
    ------
    ValueError
        If they are no components of the samples, or these are in parts.
    """
    if component_labels is None:
        return data
    if source.parts is not None:
        raise ValueError(
            "component_labels are for samples in one array, but X is in "
            f"{source.parts}. Concatenate them, or leave component_labels out."
        )
    labels = _checked(component_labels, source.length(data), n_components)
    tensor = torch.from_numpy(labels).to(data.points.device)
    if data.counts is not None:
        tensor = tensor[data.counts.to(tensor.device)]
    if bool((tensor < 0).all()):
        return data
    empty = np.setdiff1d(np.arange(n_components), tensor.cpu().numpy()).tolist()
    if empty and bool((tensor >= 0).all()):
        raise ValueError(
            "component_labels say of all samples which component they are of, but none "
            f"is of {empty}. Use a smaller n_components, or -1 where this is unknown."
        )
    return replace(data, component_labels=tensor)


def _checked(given: Any, n_samples: int, n_components: int) -> np.ndarray:
    """Return labels as int64, (n_samples,)."""
    array = np.asarray(to_numpy(given))
    if array.shape != (n_samples,):
        raise ValueError(
            f"component_labels is of shape {array.shape}, but X has {n_samples} "
            f"samples. {_ACCEPTED}."
        )
    numbers = array.dtype.kind in "iuf"
    if not numbers or not np.array_equal(array, np.floor(array)):
        raise ValueError(
            f"component_labels has values that are no integers, of type {array.dtype}. "
            f"{_ACCEPTED}."
        )
    if array.min() < -1 or array.max() >= n_components:
        raise ValueError(
            f"component_labels has values from {array.min():g} to {array.max():g}, but "
            f"the {n_components} components are numbered from 0 to {n_components - 1}. "
            f"{_ACCEPTED}."
        )
    return array.astype(np.int64)
