"""Components that some samples are known to be of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._dataset import Data

_ACCEPTED = (
    "Accepted are integers, one for each sample: that of its component, or -1 where "
    "this is unknown"
)


def check_component_labels(data: Data, n_components: int) -> Data:
    """Return data whose labels are components; without them if they say nothing.

    Raises
    ------
    ValueError
        If there are no such components, or one that no sample can be of.
    """
    labels = data.labels
    if labels is None:
        return data
    if min(labels) < -1 or max(labels) >= n_components:
        raise ValueError(
            f"component_labels has values from {min(labels)} to {max(labels)}, but the "
            f"{n_components} components are numbered from 0 to {n_components - 1}. "
            f"{_ACCEPTED}."
        )
    if labels == {-1}:
        return replace(data, component_labels=None)
    empty = [j for j in range(n_components) if j not in labels]
    if empty and -1 not in labels:
        raise ValueError(
            "component_labels say of all samples which component they are of, but none "
            f"is of {empty}. Use a smaller n_components, or -1 where this is unknown."
        )
    return data


def checked_labels(given: Any, n_samples: int) -> np.ndarray:
    """Return labels as int64, (n_samples,).

    Raises
    ------
    ValueError
        If they are no integers, or no such array.
    """
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
    return array.astype(np.int64)
