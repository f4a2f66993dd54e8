"""Samples that are held whole, in one array or table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import _num_samples
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind, to_tensor
from sklearn_keops_gmm._data._checks import check_observed, check_weighted_samples
from sklearn_keops_gmm._data._chunks import HasMeans
from sklearn_keops_gmm._data._component_labels import checked_labels
from sklearn_keops_gmm._data._dataset import Data, Weighing
from sklearn_keops_gmm._data._fitted import Placement
from sklearn_keops_gmm._data._input import checked_samples, checked_weights
from sklearn_keops_gmm._data._query import SampleFunction
from sklearn_keops_gmm._model import power_of_two


@dataclass(frozen=True)
class ArraySource:
    """An array-like of shape (n_samples, n_features), with weights and labels."""

    X: Any
    sample_weight: Any = None
    component_labels: Any = None
    parts: ClassVar[str | None] = None

    @classmethod
    def takes(cls, X: Any) -> bool:
        """Return True: what is no array is an error to come."""
        return True

    def read(self, estimator: Any, min_samples: int, *, reset: bool = True) -> Data:
        """Check samples and weights, and take them to the device that computes."""
        kind = ArrayKind.of(self.X)
        array: Any = checked_samples(
            estimator,
            self.X,
            reset=reset,
            dtype=kind.float_dtypes,
            order="C",
            ensure_min_samples=2 if reset else 1,
        )
        device = Placement.of(estimator).device_for(array)
        weights = None
        if self.sample_weight is not None:
            checked = checked_weights(self.sample_weight, array, dtype=array.dtype)
            weights = _in_range(to_tensor(checked, device))
        points = to_tensor(array, device)
        points, weights, counts = check_weighted_samples(
            points, weights, min_samples, estimator
        )
        data = Data(kind, points, weights, counts=counts)
        if self.component_labels is not None:
            checked = checked_labels(self.component_labels, _num_samples(self.X))
            labels = torch.from_numpy(checked).to(device)
            labels = labels if counts is None else labels[counts]
            data = replace(data, component_labels=labels)
        if reset:
            check_observed(data.extent.observed, estimator)
        return data

    def labelled(self, component_labels: Any) -> ArraySource:
        """Return the same samples, of which it is known what components they are of."""
        return replace(self, component_labels=component_labels)

    def length(self, data: Data) -> int:
        """Return the number of samples, those without weight included."""
        return int(_num_samples(self.X))

    def map(self, function: SampleFunction) -> Any:
        """Return the answers of a function for all samples."""
        return function(self.X)

    def means(self, function: HasMeans) -> tuple[np.ndarray, Weighing]:
        """Return the weighted means of the answers, and what weights amount to."""
        return function.means(self.X, self.sample_weight)


def _in_range(weights: Tensor) -> Tensor:
    """Return weights whose squares can be held; the unit says nothing, and is exact."""
    largest = float(weights.max())
    if largest < torch.finfo(weights.dtype).max ** 0.5:
        return weights
    return weights / power_of_two(largest)
