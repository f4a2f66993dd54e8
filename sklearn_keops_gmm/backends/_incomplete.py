"""Reductions over samples of which some features are missing, for any backend.

Rows without a missing feature go to the backend itself, and the others to
`IncompleteRows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from operator import add

from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._incomplete_rows import IncompleteRows
from sklearn_keops_gmm.backends._native import NativeIncompleteRows, NativeReductions
from sklearn_keops_gmm.backends._protocol import (
    Backend,
    Reductions,
    ReductionsFactory,
    in_same_frame,
)

# What backends have of their own for rows that miss something.
_INCOMPLETE_ROWS: dict[Backend, type[IncompleteRows]] = {
    NativeReductions: NativeIncompleteRows
}


def has_missing(points: Tensor) -> bool:
    """Tell whether a feature of a row is missing: whether there is a NaN."""
    # The sum tells most arrays apart without memory for each of their numbers.
    return math.isnan(points.sum()) and bool(points.isnan().any())


@dataclass(frozen=True)
class IncompleteBackend:
    """A backend for points in which NaN stands for what was not observed.

    Attributes
    ----------
    backend : Backend
        For the rows that are complete.
    """

    backend: Backend

    @property
    def structures(self) -> Collection[Structure]:
        """The structures of covariances that it can compute with."""
        return self.backend.structures

    def __call__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> IncompleteReductions:
        return IncompleteReductions(self.backend, points, sample_weight, frame)


def suited_to(points: Tensor, backend: Backend) -> Backend:
    """Return a backend for points: the same one if they miss no feature."""
    return IncompleteBackend(backend) if has_missing(points) else backend


class IncompleteReductions:
    """Reductions by the marginal likelihood of what is observed.

    Moments are expectations given what is observed. A row of which nothing is has
    the density 1, and belongs to each component by its weight.

    Parameters
    ----------
    backend : Backend
        For the rows that are complete.
    points : Tensor of shape (N, D)
        NaN where a feature is missing.
    sample_weight : Tensor of shape (N,) or None
    frame : Frame
    """

    in_memory = True

    def __init__(
        self,
        backend: Backend,
        points: Tensor,
        sample_weight: Tensor | None,
        frame: Frame,
    ) -> None:
        self._backend = backend
        self._points = points
        self._sample_weight = sample_weight
        self._frame = frame
        complete = ~points.isnan().any(1)
        self._rows = complete.nonzero()[:, 0], (~complete).nonzero()[:, 0]

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return len(self._points)

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None for ones."""
        return self._sample_weight

    @cached_property
    def _parts(self) -> list[tuple[Tensor, Reductions]]:
        """Rows, and the reductions over them."""
        alone = _INCOMPLETE_ROWS.get(self._backend, IncompleteRows)
        binds: tuple[Backend, Backend] = self._backend, alone
        return [
            (rows, bind(*self._some(rows), self._frame))
            for rows, bind in zip(self._rows, binds, strict=True)
            if len(rows) > 0
        ]

    def of_rows(self, rows: Tensor) -> IncompleteReductions:
        """Return the reductions over some rows, in the frame of all."""
        some = self._some(rows.to(self._points.device))
        return IncompleteReductions(self._backend, *some, self._frame)

    def reweighted(self, weights: Tensor) -> IncompleteReductions:
        """Return the reductions over the same rows with other weights, (N,)."""
        other = copy(self)
        other._sample_weight = weights
        other.__dict__["_parts"] = [
            (rows, part.reweighted(weights[rows])) for rows, part in self._parts
        ]
        return other

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds other points in the same frame."""
        backend = IncompleteBackend(self._backend)
        return partial(in_same_frame, backend, self._frame)

    def log_density(self, components: Components) -> Tensor:
        """Return the log-density of what is observed of each row, (N,)."""
        return self._joined(lambda part: part.log_density(components))

    def moments(self, components: Components) -> Moments:
        """Return the expected moments about ``components.means``."""
        return reduce(add, [part.moments(components) for _, part in self._parts])

    def labels(self, components: Components) -> Tensor:
        """Return the most probable component given what is observed, (N,)."""
        return self._joined(lambda part: part.labels(components))

    def responsibilities(self, components: Components) -> Tensor:
        """Return probabilities given what is observed, (N, M)."""
        return self._joined(lambda part: part.responsibilities(components))

    def imputed(self, components: Components) -> Tensor:
        """Return the points, (N, D), with conditional means where features miss."""
        return self._filled(lambda part: part.imputed(components))

    def drawn(self, components: Components, random_state: RandomState) -> Tensor:
        """Return the points, (N, D), with conditional draws where features miss."""
        return self._filled(lambda part: part.drawn(components, random_state))

    def _filled(self, ask: Callable[[IncompleteRows], Tensor]) -> Tensor:
        """Return the points as they are, but for rows that miss something."""
        whole = self._points.clone()
        for rows, part in self._parts:
            if isinstance(part, IncompleteRows):
                whole[rows] = ask(part)
        return whole

    def _some(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        weights = self._sample_weight
        return self._points[rows], None if weights is None else weights[rows]

    def _joined(self, ask: Callable[[Reductions], Tensor]) -> Tensor:
        """Return answers of all parts, in the order of the rows."""
        answers = [(rows, ask(part)) for rows, part in self._parts]
        _, first = answers[0]
        whole = first.new_empty((len(self._points), *first.shape[1:]))
        for rows, answer in answers:
            whole[rows] = answer
        return whole
