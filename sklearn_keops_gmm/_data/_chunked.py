"""Samples that are never held at once: what fits know of them, and sums over them.

Their parts are chunks that are read one after another, or partitions of a dask
collection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind, to_tensor
from sklearn_keops_gmm._data._checks import check_weighted_samples, resolve_init_size
from sklearn_keops_gmm._data._chunks import Chunk
from sklearn_keops_gmm._data._component_labels import checked_labels
from sklearn_keops_gmm._data._dataset import Data, Weighing
from sklearn_keops_gmm._data._fitted import FittedChecks, Placement
from sklearn_keops_gmm._data._frame import Extent
from sklearn_keops_gmm._data._input import checked_weights
from sklearn_keops_gmm._model import (
    Components,
    Frame,
    Moments,
    Structure,
    UniformNoise,
)
from sklearn_keops_gmm.backends import (
    Backend,
    LabelledReductions,
    Reductions,
    ReductionsFactory,
)

# A part may have no weight at all; scikit-learn < 1.9 does not ask about that.
_ZERO_WEIGHTS = (
    {"allow_all_zero_weights": True}
    if "allow_all_zero_weights" in signature(_check_sample_weight).parameters
    else {}
)

Rows = tuple[Tensor, Tensor | None]  # (n, D) and their weights, (n,)
Result = TypeVar("Result")


class Parts(Protocol):
    """All samples of positive weight, in parts, in order."""

    def each(self, function: Callable[[Tensor, Tensor | None], Result]) -> list[Result]:
        """Return what `function` returns of the samples and weights of each part."""

    def total(self, function: Callable[[Tensor, Tensor | None], Any]) -> Any:
        """Return the sum of that."""

    def take(self, rows: Tensor) -> Rows:
        """Return some rows, (n,) int64 and increasing."""


@dataclass(frozen=True)
class Summary:
    """What a first look at samples finds; that of all is the sum of those of parts.

    Attributes
    ----------
    n_samples : int
    extent : Extent
    weighing : Weighing
    single : bool
        Whether all are float32.
    labels : frozenset of int, or None
        The components that they are known to be of, -1 where unknown; None if nothing
        is said of that, and else rows have their label as one more column, the last.
    """

    n_samples: int
    extent: Extent
    weighing: Weighing
    single: bool
    labels: frozenset[int] | None = None

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor | None, *, labelled: bool) -> Summary:
        """Return the summary of one or more samples."""
        points, labels = without_labels(rows, labelled=labelled)
        n, single = len(points), points.dtype == torch.float32
        weighing = Weighing.of_ones(n) if weights is None else Weighing.of(weights)
        known = None if labels is None else frozenset(labels.unique().tolist())
        return cls(n, Extent.of(points), weighing, single, known)

    @property
    def dtype(self) -> torch.dtype:
        """In which they are computed with."""
        return torch.float32 if self.single else torch.float64

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.n_samples + other.n_samples,
            self.extent + other.extent,
            self.weighing + other.weighing,
            self.single and other.single,
            None if self.labels is None else self.labels | (other.labels or set()),
        )


@dataclass(frozen=True)
class PartedData(Data):
    """Samples in parts; `points` is a random part of them, which starts see.

    Attributes
    ----------
    parts : Parts
    summary : Summary
    """

    parts: Parts
    summary: Summary

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self.summary.n_samples

    @property
    def total_weight(self) -> float:
        """The sum of the sample weights."""
        return self.summary.weighing.total

    @property
    def sample_size(self) -> float:
        """How many samples of weight 1 say as much: what criteria count in."""
        return self.summary.weighing.sample_size

    @property
    def extent(self) -> Extent:
        """How far the samples reach."""
        return self.summary.extent

    @property
    def labels(self) -> frozenset[int] | None:
        """The components that samples are known to be of, -1 for those unknown."""
        return self.summary.labels

    def bind(
        self, backend: Backend, frame: Frame, noise: UniformNoise | None = None
    ) -> Reductions:
        """Return the sums over all pairs, with noise beside them if there is some."""
        return PartedReductions(super().bind(backend, frame, noise), self)

    def total(self, function: Callable[[Tensor, Tensor | None], Any]) -> Any:
        """Return the sum of what a function returns of each part."""
        return self.parts.total(function)


class PartedReductions:
    """Sums over pairs, which read the samples anew each time.

    Parameters
    ----------
    some : Reductions
        Over some of the samples, to compute as it does.
    data : PartedData
    """

    in_memory = False
    sample_weight = None

    def __init__(self, some: Reductions, data: PartedData) -> None:
        self._some = some
        self._data = data

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self._data.n_samples

    def of_rows(self, rows: Tensor) -> Reductions:
        """Return the reductions over some rows, which are read and held."""
        order = rows.cpu().argsort()
        taken, weights = self._data.parts.take(rows.cpu()[order])
        back = order.argsort().to(taken.device)
        # These coordinates do for components of any structure.
        factory = self._some.factory("full")
        labelled = self._data.labels is not None
        chosen = None if weights is None else weights[back]
        return _bound(factory, taken[back], chosen, labelled=labelled)[0]

    def reweighted(self, weights: Tensor) -> Reductions:
        """Raise: the rows are read anew each time, with weights of their own."""
        raise NotImplementedError("Rows that are not held have no other weights.")

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return how to make reductions over other points, computed alike."""
        return self._some.factory(structure)

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        moments: Moments = self._data.parts.total(self._asking("moments", components))
        return moments

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        return self._joined("log_density", components)

    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        return self._joined("labels", components)

    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        return self._joined("responsibilities", components)

    def _joined(self, method: str, components: Components) -> Tensor:
        return torch.cat(self._data.parts.each(self._asking(method, components)))

    def _asking(
        self, method: str, components: Components
    ) -> Callable[[Tensor, Tensor | None], Any]:
        factory = self.factory(components.structure)
        summary = self._data.summary
        how = summary.extent.incomplete, summary.labels is not None
        return partial(_ask, method, factory, components, *how)


def _ask(
    method: str,
    factory: ReductionsFactory,
    components: Components,
    incomplete: bool,
    labelled: bool,
    rows: Tensor,
    weights: Tensor | None,
) -> Any:
    """Ask about one part, wherever its samples are; answer where the question is."""
    reductions, points = _bound(factory, rows, weights, labelled=labelled)
    answer = getattr(reductions, method)(components.to(points.device))
    # They were finite when the fit began. To look each time would take longer.
    if isinstance(answer, Moments) and not math.isfinite(answer.log_likelihood):
        check_still_finite(points, incomplete=incomplete)
    return answer.to(components.means.device)


def _bound(
    factory: ReductionsFactory, rows: Tensor, weights: Tensor | None, *, labelled: bool
) -> tuple[Reductions, Tensor]:
    """Return the reductions over rows, and their points."""
    points, labels = without_labels(rows, labelled=labelled)
    reductions = factory(points, weights)
    if labels is not None:
        reductions = LabelledReductions(reductions, labels)
    return reductions, points


def without_labels(rows: Tensor, *, labelled: bool) -> tuple[Tensor, Tensor | None]:
    """Return points, and labels, (n,) int64, if these are the last column of rows."""
    if not labelled:
        return rows, None
    return rows[:, :-1].contiguous(), rows[:, -1].long()


def check_still_finite(points: Tensor, *, incomplete: bool) -> None:
    """Raise ValueError if samples that were finite at first are not any more.

    NaN is no change if some were `incomplete`.
    """
    finite = torch.isfinite(points)
    if incomplete:
        finite = finite | points.isnan()
    if not bool(finite.all()):
        raise ValueError(
            "its samples have changed since the fit began: there is a NaN or infinity "
            "now. They are read again for each step, and have to stay as they are."
        )


@dataclass(frozen=True)
class Reader:
    """Makes tensors of chunks.

    Attributes
    ----------
    validate : callable
        Makes arrays of the samples, if they have the features that they should.
    kind : ArrayKind
        Of the first chunk.
    device : torch.device
        For all.
    checks : FittedChecks or None
        Of the features that the samples should have, once these are known.
    """

    validate: Callable[..., Any]
    kind: ArrayKind
    device: torch.device
    checks: FittedChecks | None = None

    @classmethod
    def of(
        cls, validate: Callable[..., Any], placement: Placement, chunk: Chunk
    ) -> Reader:
        """Return what reads chunks like the first."""
        kind = ArrayKind.of(chunk.array)
        array = chunk.array if hasattr(chunk.array, "shape") else np.empty((0, 0))
        if len(array.shape) != 2:
            array = np.empty((0, 0))  # an error to come
        return cls(validate, kind, placement.device_for(array))

    def read(self, chunk: Chunk, *, checked: bool = False, **how: Any) -> Rows:
        """Return the samples of a chunk that count, and their weights.

        Labels of samples, if there are some, are one more column, which any dtype
        holds as they are: so they go wherever samples go.

        Parameters
        ----------
        chunk : Chunk
        checked : bool, default=False
            Whether it is known to be finite.
        **how
            What else `validate` takes.
        """
        array: Any = chunk.array
        if not self._is_plain(array, checked):
            array = self.validate(
                array,
                dtype=self.kind.float_dtypes,
                order="C",
                ensure_all_finite=False if checked else "allow-nan",
                **how,
            )
        weights = None
        if chunk.weights is not None:
            found = checked_weights(
                chunk.weights, array, dtype=array.dtype, **_ZERO_WEIGHTS
            )
            weights = to_tensor(found, self.device)
        points = to_tensor(array, self.device)
        points, weights, counts = check_weighted_samples(points, weights, 0)
        if chunk.labels is None:
            return points, weights
        known = checked_labels(chunk.labels, len(array))
        labels = torch.from_numpy(known).to(self.device)
        labels = labels if counts is None else labels[counts]
        return torch.column_stack((points, labels.to(points))), weights

    def _is_plain(self, array: Any, checked: bool) -> bool:
        """Tell whether there is nothing to `validate`: that would take long."""
        if self.checks is None or not self.kind.is_numpy:
            return False
        return self.checks.is_plain(array, finite=checked)


def size_of_sample(estimator: Any, parts: str) -> int:
    """Return how many samples starts see, if there are more.

    Parameters
    ----------
    estimator : estimator
        With `init_size` and `n_components`.
    parts : str
        What X consists of, such as ``"pieces"``, for the message.

    Raises
    ------
    ValueError
        If they are to see all.
    """
    if estimator.init_size is None:
        part = parts.removesuffix("s")
        raise ValueError(
            "init_size=None lets starts see all samples at once, but X is read "
            f"{part} by {part}. Use init_size='auto' or a number of samples."
        )
    return resolve_init_size(estimator.init_size, 0, estimator.n_components)


def cast(rows: Rows, dtype: torch.dtype) -> Rows:
    """Return samples and weights in another dtype."""
    points, weights = rows
    return points.to(dtype), None if weights is None else weights.to(dtype)


def joined_rows(parts: list[Rows]) -> Rows:
    """Put rows one after another, in the widest of their dtypes."""
    points = torch.cat([points for points, _ in parts])
    weights = [weights for _, weights in parts if weights is not None]
    return points, torch.cat(weights) if weights else None
