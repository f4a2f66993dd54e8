"""Fits to partitions of dask: each step sends a mixture there, and adds up sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind
from sklearn_keops_gmm._data._checks import check_weighted_samples
from sklearn_keops_gmm._data._chunked import (
    PartedData,
    Reader,
    Result,
    Rows,
    Summary,
    cast,
    joined_rows,
    size_of_sample,
)
from sklearn_keops_gmm._data._chunks import Piece, check_any
from sklearn_keops_gmm._data._dask import (
    Partitions,
    in_whole_rows,
    like,
    partitions_of,
)
from sklearn_keops_gmm._data._fitted import FittedChecks, Placement
from sklearn_keops_gmm._data._input import checked_samples


def read_partitioned(
    mixture: Any,
    X: Any,
    sample_weight: ArrayLike | None,
    *,
    min_samples: int | None = None,
    reset: bool = True,
) -> PartedData:
    """Check all partitions where they are, and gather the samples that starts see.

    These are all if there are no more than `init_size`, else some that are drawn by
    their number among all: how rows are divided changes nothing.

    Parameters
    ----------
    mixture : estimator
        With `n_components`, `device`, `init_size` and `random_state`.
    X, sample_weight
        What `partitions_of` takes.
    min_samples, reset
        As for `read_data`.

    Raises
    ------
    ValueError
        If a partition is unusable, which is then named; if there are fewer samples
        of positive weight than components; or if starts are to see all samples.
    """
    size = size_of_sample(mixture, "partition")
    X = in_whole_rows(X)
    partitions = partitions_of(X, sample_weight)
    checked_samples(mixture, like(X), reset=reset, dtype=None, ensure_min_samples=0)
    reader = PartitionReader(FittedChecks.of(mixture), Placement.of(mixture))
    found = partitions.each(partial(_summary, reader))
    summaries = [summary for summary in found if summary is not None]
    check_any(summaries)
    summary = sum(summaries[1:], summaries[0])
    read = ReadPartitions(
        partitions.only([summary is not None for summary in found]),
        reader,
        summary.dtype,
        np.cumsum([summary.n_samples for summary in summaries]),
    )
    n_samples = summary.n_samples
    rows = np.arange(n_samples)
    if n_samples > size:
        random_state = check_random_state(mixture.random_state)
        drawn = sample_without_replacement(n_samples, size, random_state=random_state)
        rows = np.sort(drawn)
    points, weights = read.take(torch.from_numpy(rows))
    check_weighted_samples(
        points, weights, mixture.n_components if min_samples is None else min_samples
    )
    kind = ArrayKind.of(np.empty(0))
    return PartedData(kind, points, weights, read, summary)


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

    def read(self, piece: Piece, *, checked: bool = False) -> Rows:
        """Return the samples of a partition that count, and their weights."""
        reader = Reader.of(self.checks.validate, self.placement, piece)
        return reader.read(piece, checked=checked)


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

    def _reading(self, function: Callable[..., Any]) -> Callable[[Piece], Any]:
        return partial(_read, self.reader, self.dtype, function)


# -- tasks ----------------------------------------------------------------------------


def _summary(reader: PartitionReader, piece: Piece) -> Summary | None:
    rows = reader.read(piece)
    return Summary.of(*rows) if len(rows[0]) > 0 else None


def _read(
    reader: PartitionReader,
    dtype: torch.dtype,
    function: Callable[..., Any],
    piece: Piece,
) -> Any:
    return function(*cast(reader.read(piece, checked=True), dtype))


def _take(rows: Tensor, points: Tensor, weights: Tensor | None) -> Rows:
    inside = rows.to(points.device)
    taken = points[inside].cpu()
    return taken, None if weights is None else weights[inside].cpu()
