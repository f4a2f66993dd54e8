"""Samples that are read chunk by chunk, once for each sum over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import chain
from operator import add
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind
from sklearn_keops_gmm._data._checks import check_observed, check_weighted_samples
from sklearn_keops_gmm._data._chunked import (
    PartedData,
    Reader,
    Result,
    Rows,
    Summary,
    cast,
    check_still_finite,
    joined_rows,
    size_of_sample,
    without_labels,
)
from sklearn_keops_gmm._data._chunks import (
    Chunk,
    HasMeans,
    Sums,
    check_any,
    chunks_of,
    in_chunks,
    sums_of,
)
from sklearn_keops_gmm._data._dataset import Data, Weighing
from sklearn_keops_gmm._data._fitted import FittedChecks, Placement
from sklearn_keops_gmm._data._input import checked_samples
from sklearn_keops_gmm._data._query import SampleFunction


@dataclass(frozen=True)
class ChunkSource:
    """What `chunks_of` takes: a sequence of arrays, or a large map of a file.

    All chunks are read once for each sum over the samples, one after another. A source
    of other chunks is a subclass with methods `takes` and `chunks` of its own.
    """

    X: Any
    sample_weight: Any = None
    component_labels: Any = None
    parts: ClassVar[str] = "pieces"

    @classmethod
    def takes(cls, X: Any) -> bool:
        """Tell whether samples are read chunk by chunk."""
        return in_chunks(X)

    def chunks(self) -> Iterator[Chunk]:
        """Read one chunk after another, those without rows left out."""
        return chunks_of(self.X, self.sample_weight, self.component_labels)

    def labelled(self, component_labels: Any) -> ChunkSource:
        """Return the same samples, of which it is known what components they are of."""
        return replace(self, component_labels=component_labels)

    def read(
        self, estimator: Any, min_samples: int, *, reset: bool = True
    ) -> PartedData:
        """Go through all chunks once: check them, and draw the samples that starts see.

        Raises
        ------
        ValueError
            If a chunk is unusable, which is then named; if too few samples have a
            positive weight; or if starts are to see all samples.
        """
        size = size_of_sample(estimator, self.parts)
        reservoir = Reservoir(size, check_random_state(estimator.random_state))
        summary = reader = None
        labelled = self.component_labels is not None
        for chunk in self.chunks():
            with chunk.named():
                if reader is None:
                    validate = partial(checked_samples, estimator)
                    reader = Reader.of(validate, Placement.of(estimator), chunk)
                if labelled and chunk.labels is None:
                    name = type(self).__name__
                    raise ValueError(f"{name} reads no component_labels with X.")
                rows, weights = reader.read(chunk, reset=reset and summary is None)
                if reader.checks is None:
                    reader = replace(reader, checks=FittedChecks.of(estimator))
            if len(rows) == 0:
                continue
            reservoir.add(rows, weights)
            new = Summary.of(rows, weights, labelled=labelled)
            summary = new if summary is None else summary + new
        check_any(summary)
        assert reader is not None
        assert summary is not None
        rows, weights = cast(reservoir.rows(), summary.dtype)
        points, labels = without_labels(rows, labelled=labelled)
        check_weighted_samples(points, weights, min_samples, estimator)
        if reset:
            check_observed(summary.extent.observed, estimator)
        parts = ReadChunks(reader, summary.dtype, self, summary.extent.incomplete)
        return PartedData(
            reader.kind, points, weights, parts, summary, component_labels=labels
        )

    def length(self, data: Data) -> int:
        """Return the number of samples of positive weight."""
        return data.n_samples

    def map(self, function: SampleFunction) -> Any:
        """Return the answers for the samples of each chunk, one after another."""
        answers = self._answers(function)
        if isinstance(self.X, np.memmap):
            return _filled(answers, len(self.X))
        parts = list(answers)
        check_any(parts)
        return ArrayKind.of(*parts).xp.concat(parts, axis=0)

    def means(self, function: HasMeans) -> tuple[np.ndarray, Weighing]:
        """Return the weighted means of the answers, and what weights amount to."""
        sums = Sums()
        for chunk in self.chunks():
            with chunk.named():
                sums = sums + sums_of(function, chunk)
        return sums.means

    def _answers(self, function: SampleFunction) -> Iterator[Any]:
        for chunk in self.chunks():
            with chunk.named():
                answer = function(chunk.array)
            yield answer


def _filled(answers: Iterator[Any], length: int) -> np.ndarray:
    """Return arrays one after another; their length is known, none is held twice."""
    first = next(answers)
    whole = np.empty((length, *first.shape[1:]), first.dtype)
    start = 0
    for part in chain([first], answers):
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


@dataclass(frozen=True)
class ReadChunks:
    """Chunks that are known to be sound, in one dtype: the parts of their samples.

    Attributes
    ----------
    reader : Reader
    dtype : torch.dtype
    source : ChunkSource
    incomplete : bool
        Whether some of them miss a feature.
    """

    reader: Reader
    dtype: torch.dtype
    source: ChunkSource
    incomplete: bool

    def each(self, function: Callable[[Tensor, Tensor | None], Result]) -> list[Result]:
        """Return what `function` returns of the samples and weights of each chunk."""
        return list(self._mapped(function))

    def total(self, function: Callable[[Tensor, Tensor | None], Any]) -> Any:
        """Return the sum of that."""
        return reduce(add, self._mapped(function))

    def _mapped(
        self, function: Callable[[Tensor, Tensor | None], Result]
    ) -> Iterator[Result]:
        for chunk in self.source.chunks():
            with chunk.named():
                points, weights = self.reader.read(chunk, checked=True, reset=False)
                if len(points) == 0:
                    continue
                result = function(*cast((points, weights), self.dtype))
            yield result

    def take(self, rows: Tensor) -> Rows:
        """Return some rows, (n,) int64 and increasing."""
        start = 0

        def inside(points: Tensor, weights: Tensor | None) -> Rows:
            nonlocal start
            bounds = torch.tensor([start, start + len(points)])
            low, high = torch.searchsorted(rows, bounds)
            some = (rows[low:high] - start).to(points.device)
            start += len(points)
            check_still_finite(points[some], incomplete=self.incomplete)
            return points[some], None if weights is None else weights[some]

        return joined_rows(self.each(inside))


class Reservoir:
    """A random sample of rows that come one after another.

    Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical
    Software 11 (1985), algorithm R. It does not depend on how rows are divided into
    chunks, and is all of them, in order, if there are no more than `size`.
    """

    def __init__(self, size: int, random_state: RandomState) -> None:
        self._size = size
        self._random_state = random_state
        self._seen = 0
        # One after another; row i is in place i.
        self._held: list[Rows] = []

    def add(self, points: Tensor, weights: Tensor | None) -> None:
        """Show more rows."""
        n_taken = min(len(points), max(0, self._size - self._seen))
        if n_taken > 0:
            self._held.append(_copied(points, weights, slice(n_taken)))
        if n_taken < len(points):
            late = np.arange(n_taken, len(points))
            numbers = self._random_state.random_sample(len(late))
            places = (numbers * (self._seen + late + 1)).astype(np.int64)
            hit = places < self._size
            self._replace(places[hit], points, weights, late[hit])
        self._seen += len(points)

    def rows(self) -> Rows:
        """Return the sample, and the weights of its rows."""
        if len(self._held) > 1:
            self._held = [joined_rows(self._held)]
        return self._held[0]

    def _replace(
        self,
        places: np.ndarray,
        points: Tensor,
        weights: Tensor | None,
        chosen: np.ndarray,
    ) -> None:
        """Put chosen rows in the places of others: the last to come to one stays."""
        if len(places) == 0:
            return
        places, last = np.unique(places[::-1], return_index=True)
        index = torch.from_numpy(chosen[::-1][last]).to(points.device)
        where = torch.from_numpy(places).to(points.device)
        held, held_weights = self.rows()
        held = held.to(torch.promote_types(held.dtype, points.dtype))
        held[where] = points[index].to(held.dtype)
        if held_weights is not None and weights is not None:
            both = torch.promote_types(held_weights.dtype, weights.dtype)
            held_weights = held_weights.to(both)
            held_weights[where] = weights[index].to(both)
        self._held = [(held, held_weights)]


def _copied(points: Tensor, weights: Tensor | None, rows: slice) -> Rows:
    """Return copies of some rows, which whoever gave them may change."""
    return points[rows].clone(), None if weights is None else weights[rows].clone()
