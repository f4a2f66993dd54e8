"""Samples in partitions of dask: what is asked of them is sent there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement
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
    joined_rows,
    size_of_sample,
    without_labels,
)
from sklearn_keops_gmm._data._chunks import (
    Chunk,
    HasMeans,
    Sums,
    check_any,
    sums_of,
)
from sklearn_keops_gmm._data._dask import (
    Partitions,
    dask_delayed,
    in_partitions,
    in_whole_rows,
    is_empty,
    is_frame,
    like,
    name_of,
    partitions_of,
)
from sklearn_keops_gmm._data._dataset import Data, Weighing
from sklearn_keops_gmm._data._fitted import FittedChecks, Placement
from sklearn_keops_gmm._data._input import checked_samples
from sklearn_keops_gmm._data._query import SampleFunction
from sklearn_keops_gmm.backends import single_thread


@dataclass(frozen=True)
class DaskSource:
    """A dask array or data frame; weights are what `partitions_of` takes.

    Each sum over the samples sends a mixture to the partitions, and adds up theirs.
    """

    X: Any
    sample_weight: Any = None
    component_labels: Any = None
    parts: ClassVar[str] = "partitions"

    @classmethod
    def takes(cls, X: Any) -> bool:
        """Tell whether samples are in a collection of dask."""
        return in_partitions(X)

    def read(
        self, estimator: Any, min_samples: int, *, reset: bool = True
    ) -> PartedData:
        """Check all partitions where they are, and gather the samples that starts see.

        These are all if there are no more than `init_size`, else some that are drawn
        by their number among all: how rows are divided changes nothing.

        Raises
        ------
        ValueError
            If a partition is unusable, which is then named; if too few samples have
            a positive weight; or if starts are to see all samples.
        """
        size = size_of_sample(estimator, self.parts)
        labels = self.component_labels
        partitions = partitions_of(self.X, self.sample_weight, labels)
        table = like(self.X)
        checked_samples(estimator, table, reset=reset, dtype=None, ensure_min_samples=0)
        reader = PartitionReader(FittedChecks.of(estimator), Placement.of(estimator))
        labelled = labels is not None
        found = partitions.each(partial(_summary, reader, labelled))
        summaries = [summary for summary in found if summary is not None]
        check_any(summaries)
        summary = sum(summaries[1:], summaries[0])
        if reset:
            check_observed(summary.extent.observed, estimator)
        read = ReadPartitions(
            partitions.only([summary is not None for summary in found]),
            reader,
            summary.dtype,
            np.cumsum([summary.n_samples for summary in summaries]),
        )
        rows = _drawn(summary.n_samples, size, estimator.random_state)
        taken, weights = read.take(torch.from_numpy(rows))
        points, labels = without_labels(taken, labelled=labelled)
        check_weighted_samples(points, weights, min_samples, estimator)
        kind = ArrayKind.of(np.empty(0))
        return PartedData(kind, points, weights, read, summary, component_labels=labels)

    def labelled(self, component_labels: Any) -> DaskSource:
        """Return the same samples, of which it is known what components they are of."""
        return replace(self, component_labels=component_labels)

    def length(self, data: Data) -> int:
        """Return the number of samples of positive weight."""
        return data.n_samples

    def map(self, function: SampleFunction) -> Any:
        """Return the answers as a dask array that is not computed yet."""
        X = in_whole_rows(self.X)
        dtype = function.checks.validate(
            like(X), dtype=[np.float64, np.float32], ensure_min_samples=0
        ).dtype
        columns = () if function.n_columns is None else (function.n_columns,)
        meta = np.empty((0, *columns), function.dtype or dtype)
        shared = dask_delayed()(function, traverse=False, pure=False)
        if is_frame(X):
            return X.map_partitions(_answers_of_frame, shared, meta, meta=meta)
        shape = {"chunks": (X.chunks[0], columns)} if columns else {"drop_axis": 1}
        return X.map_blocks(
            _answers_of_block, shared, none=meta, meta=meta, dtype=meta.dtype, **shape
        )

    def means(self, function: HasMeans) -> tuple[np.ndarray, Weighing]:
        """Return the weighted means of the answers, and what weights amount to."""
        partitions = partitions_of(self.X, self.sample_weight)
        sums = partitions.total(partial(sums_of, function))
        return (sums or Sums()).means


def _drawn(n_samples: int, size: int, random_state: Any) -> np.ndarray:
    """Return which samples starts see, in order."""
    if n_samples <= size:
        return np.arange(n_samples)
    generator = check_random_state(random_state)
    drawn = sample_without_replacement(n_samples, size, random_state=generator)
    return np.sort(drawn)


@dataclass(frozen=True)
class PartitionReader:
    """Makes tensors of partitions, where they are.

    Attributes
    ----------
    checks : FittedChecks
        Of the estimator that is fitted: their features are those of the whole.
    placement : Placement
    """

    checks: FittedChecks
    placement: Placement

    def read(self, chunk: Chunk, *, checked: bool = False) -> Rows:
        """Return the samples of a partition that count, and their weights."""
        reader = Reader.of(self.checks.validate, self.placement, chunk)
        return reader.read(chunk, checked=checked)


@dataclass(frozen=True)
class ReadPartitions:
    """Partitions that are known to be sound: the parts of samples in partitions.

    Attributes
    ----------
    partitions : Partitions
        Those with samples of positive weight.
    reader : PartitionReader
    dtype : torch.dtype
        That of all.
    ends : ndarray of shape (n_partitions,)
        How many samples there are up to the end of each.
    """

    partitions: Partitions
    reader: PartitionReader
    dtype: torch.dtype
    ends: np.ndarray

    def each(self, function: Callable[[Tensor, Tensor | None], Result]) -> list[Result]:
        """Return what `function` returns of the samples and weights of each."""
        return self.partitions.each(self._reading(function))

    def total(self, function: Callable[[Tensor, Tensor | None], Any]) -> Any:
        """Return the sum of that."""
        return self.partitions.total(self._reading(function))

    def take(self, rows: Tensor) -> Rows:
        """Return some rows, (n,) int64 and increasing."""
        starts = torch.tensor([0, *self.ends])
        bounds = torch.searchsorted(rows, starts).tolist()
        inside = [
            rows[low:high] - start
            for (low, high), start in zip(pairwise(bounds), starts[:-1], strict=True)
        ]
        functions = [
            self._reading(partial(_take, some)) for some in inside if len(some) > 0
        ]
        asked = self.partitions.only([len(some) > 0 for some in inside])
        return joined_rows(asked.each_own(functions))

    def _reading(self, function: Callable[..., Any]) -> Callable[[Chunk], Any]:
        return partial(_read, self.reader, self.dtype, function)


# -- tasks ----------------------------------------------------------------------------


def _summary(reader: PartitionReader, labelled: bool, chunk: Chunk) -> Summary | None:
    rows = reader.read(chunk)
    return Summary.of(*rows, labelled=labelled) if len(rows[0]) > 0 else None


def _read(
    reader: PartitionReader,
    dtype: torch.dtype,
    function: Callable[..., Any],
    chunk: Chunk,
) -> Any:
    return function(*cast(reader.read(chunk, checked=True), dtype))


def _take(rows: Tensor, points: Tensor, weights: Tensor | None) -> Rows:
    inside = rows.to(points.device)
    taken = points[inside].cpu()
    return taken, None if weights is None else weights[inside].cpu()


@single_thread()
def _answers_of_block(
    block: Any, function: SampleFunction, none: np.ndarray, block_id: tuple[int, ...]
) -> Any:
    if is_empty(block):
        return none
    with Chunk(name_of(block_id[0]), block, None).named():
        return function(block)


def _answers_of_frame(
    frame: Any,
    function: SampleFunction,
    none: np.ndarray,
    partition_info: dict[str, Any] | None,
) -> Any:
    number = 0 if partition_info is None else partition_info["number"]
    return _answers_of_block(frame, function, none, (number,))
