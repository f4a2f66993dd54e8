"""What a fit holds of its samples, on the device that computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind
from sklearn_keops_gmm._data._frame import Extent
from sklearn_keops_gmm._model import Frame, UniformNoise
from sklearn_keops_gmm.backends import (
    Backend,
    IncompleteBackend,
    LabelledBackend,
    Reductions,
    beside_noise,
)


@dataclass(frozen=True)
class Weighing:
    """What the weights of samples amount to; that of all is the sum of those of parts.

    Attributes
    ----------
    total : float
        The sum of the weights.
    largest : float
    squares : float
        The sum of the squares of the weights, relative to the largest.
    counted : bool
        Whether all are integers: numbers of equal samples.
    """

    total: float
    largest: float
    squares: float
    counted: bool

    @classmethod
    def of(cls, weights: Tensor) -> Weighing:
        """Return that of one or more weights, of which one is positive."""
        doubles = weights.double()
        largest = float(doubles.max())
        squares = float(((doubles / largest) ** 2).sum())
        counted = bool((weights == weights.round()).all())
        return cls(float(doubles.sum()), largest, squares, counted)

    @classmethod
    def of_numbers(cls, weights: np.ndarray) -> Weighing:
        """Return that of weights in an array of numpy."""
        return cls.of(torch.from_numpy(np.ascontiguousarray(weights)))

    @classmethod
    def of_ones(cls, n_samples: int) -> Weighing:
        """Return that of samples without weights."""
        return cls(float(n_samples), 1.0, float(n_samples), True)

    @property
    def sample_size(self) -> float:
        """The sum of counts; of other weights the effective number of Kish (1965).

        It does not change when all weights are multiplied by a number.
        """
        if self.counted:
            return self.total
        return (self.total / self.largest) ** 2 / self.squares

    def __add__(self, other: Weighing) -> Weighing:
        largest = max(self.largest, other.largest)
        squares = sum(
            one.squares * (one.largest / largest) ** 2 for one in (self, other)
        )
        return Weighing(
            self.total + other.total, largest, squares, self.counted and other.counted
        )


@dataclass(frozen=True)
class Data:
    """Samples that count, on the device that computes.

    Attributes
    ----------
    kind : ArrayKind
        Of the array that was given.
    points : Tensor of shape (N, D)
        NaN where a feature is missing.
    sample_weight : Tensor of shape (N,) or None
    counts : Tensor of shape (n_given,), bool, or None
        Which of the samples that were given these are; None for all.
    component_labels : Tensor of shape (N,), int64, or None
        The components that samples are known to be of, -1 where unknown.
    whole : Extent or None
        How far those reach that these were chosen from; None if they were not.
    """

    kind: ArrayKind
    points: Tensor
    sample_weight: Tensor | None
    counts: Tensor | None = field(default=None, kw_only=True)
    component_labels: Tensor | None = field(default=None, kw_only=True)
    whole: Extent | None = field(default=None, kw_only=True)

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return len(self.points)

    @property
    def total_weight(self) -> float:
        """The sum of the sample weights."""
        if self.sample_weight is None:
            return float(len(self.points))
        return float(self.sample_weight.sum(dtype=torch.float64))

    @property
    def sample_size(self) -> float:
        """How many samples of weight 1 say as much: what criteria count in."""
        if self.sample_weight is None:
            return float(len(self.points))
        return Weighing.of(self.sample_weight).sample_size

    @cached_property
    def extent(self) -> Extent:
        """How far the samples reach."""
        return Extent.of(self.points)

    @property
    def box(self) -> Extent:
        """How far all samples reach, also those that were held out."""
        return self.extent if self.whole is None else self.whole

    @property
    def labels(self) -> frozenset[int] | None:
        """The components that samples are known to be of, -1 for those unknown."""
        if self.component_labels is None:
            return None
        return frozenset(self.component_labels.unique().tolist())

    def frame(self) -> Frame:
        """Return the frame in which to compute."""
        return self.extent.frame(self.points)

    def bind(
        self, backend: Backend, frame: Frame, noise: UniformNoise | None = None
    ) -> Reductions:
        """Return the sums over all pairs, with noise beside them if there is some."""
        if self.extent.incomplete:
            backend = IncompleteBackend(backend)
        backend = beside_noise(backend, noise)
        if self.component_labels is not None:
            backend = LabelledBackend(backend, self.component_labels)
        return backend(self.points, self.sample_weight, frame)

    def total(self, function: Callable[[Tensor, Tensor | None], Any]) -> Any:
        """Return what a function of samples and their weights returns of all.

        Of samples in parts it is the sum of what it returns of each.
        """
        return function(self.points, self.sample_weight)
