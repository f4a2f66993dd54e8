"""Samples in partitions of dask arrays and frames: the one home of dask.

Nothing is computed but what is asked for, by the scheduler that the user has chosen,
and nothing is kept: collections that fit the memory of the workers are for the user
to persist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._chunks import Chunk
from sklearn_keops_gmm.backends import single_thread

# How many sums of partitions one task adds up.
FAN_IN = 8


def in_partitions(X: Any) -> bool:
    """Tell whether samples are in a collection of dask.

    Raises
    ------
    ImportError
        If they are, but dask is missing.
    """
    # Arrays of some packages can hold partitions, but need not.
    if isinstance(X, type) or not hasattr(X, "__dask_graph__"):
        return False
    try:
        import dask
    except ImportError as error:
        if X.__dask_graph__() is None:
            return False
        raise ImportError(
            f"X is a collection of dask, of type {type(X).__name__}, but dask is not "
            "installed: python -m pip install 'sklearn-keops-gmm[dask]'"
        ) from error
    return bool(dask.is_dask_collection(X))


@dataclass(frozen=True)
class Partition:
    """Tasks of dask that return some of the samples, their weights and labels."""

    number: int
    array: Any
    weights: Any
    labels: Any


@dataclass(frozen=True)
class Partitions:
    """All partitions of a collection, in order.

    Functions that they are mapped by take a `Chunk`. One function is one task that
    all others depend on, so that it is sent to each worker once.
    """

    items: tuple[Partition, ...]

    def each(self, function: Callable[[Chunk], Any]) -> list[Any]:
        """Return what `function` returns of each; None for those without rows."""
        return _computed(self._mapped(function))

    def total(self, function: Callable[[Chunk], Any]) -> Any:
        """Return the sum of that; None if none has rows.

        Tasks add up a few partitions, or sums of them, each.
        """
        added = dask_delayed()(_sum, pure=False)
        sums = self._mapped(function)
        while len(sums) > 1:
            sums = [added(sums[i : i + FAN_IN]) for i in range(0, len(sums), FAN_IN)]
        return _computed(sums)[0] if sums else None

    def each_own(self, functions: Sequence[Callable[[Chunk], Any]]) -> list[Any]:
        """Return what its own function returns of each."""
        pairs = zip(self.items, functions, strict=True)
        return _computed(
            [Partitions((item,))._mapped(function)[0] for item, function in pairs]
        )

    def only(self, chosen: Sequence[bool]) -> Partitions:
        """Return some of the partitions."""
        pairs = zip(self.items, chosen, strict=True)
        return Partitions(tuple(item for item, keep in pairs if keep))

    def _mapped(self, function: Callable[[Chunk], Any]) -> list[Any]:
        delayed = dask_delayed()
        shared = delayed(function, traverse=False, pure=False)
        mapped = delayed(_on_partition, pure=False)
        return [
            mapped(shared, item.number, item.array, item.weights, item.labels)
            for item in self.items
        ]


def partitions_of(
    X: Any, sample_weight: Any = None, component_labels: Any = None
) -> Partitions:
    """Return the partitions of a collection, with the weights and labels of rows.

    Parameters
    ----------
    X : dask array or data frame of shape (N, D)
        N need not be known. An array is rechunked if rows are divided.
    sample_weight : dask array or series, or array-like, of shape (N,), or None
        With the same partitions, if it is a collection of unknown sizes; numbers of
        rows have to be known for anything else.
    component_labels : as `sample_weight`

    Raises
    ------
    ValueError
        If `X` is something else, or weights or labels are for other partitions.
    """
    X = in_whole_rows(X)
    arrays = _tasks(X)
    weights = _numbers_of(X, "sample_weight", sample_weight, len(arrays))
    labels = _numbers_of(X, "component_labels", component_labels, len(arrays))
    parts = enumerate(zip(arrays, weights, labels, strict=True))
    return Partitions(tuple(Partition(i, *part) for i, part in parts))


def in_whole_rows(X: Any) -> Any:
    """Return a collection of the same samples, none of which is divided."""
    if not (_is_array(X) or is_frame(X)):
        raise ValueError(
            f"X is a dask {type(X).__name__}. Of the collections of dask, arrays and "
            "data frames are accepted."
        )
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got {len(X.shape)}D array instead: X is a dask "
            f"{type(X).__name__}, and has to be of shape (n_samples, n_features)."
        )
    if is_frame(X):
        return X
    if np.isnan(X.shape[1]):
        raise ValueError(
            "X is a dask array with an unknown number of features: its chunks are "
            f"{X.chunks}. Let X.compute_chunk_sizes() find it, or give the shapes of "
            "its blocks where it is made."
        )
    return X.rechunk({1: -1}) if X.numblocks[1] > 1 else X


def like(X: Any) -> Any:
    """Return an array or frame with the features of a collection, without rows."""
    X = in_whole_rows(X)
    return X._meta if is_frame(X) else np.empty((0, X.shape[1]), X.dtype)


def stacked(arrays: Sequence[Any]) -> Any:
    """Return arrays of the same samples, (N, D), as one, (n_arrays, N, D)."""
    from dask.array import stack

    return stack(arrays, allow_unknown_chunksizes=True)


# -- tasks ----------------------------------------------------------------------------


@single_thread()
def _on_partition(
    function: Callable[[Chunk], Any],
    number: int,
    array: Any,
    weights: Any,
    labels: Any,
) -> Any:
    if is_empty(array):
        return None
    chunk = Chunk(name_of(number), array, weights, labels)
    try:
        with chunk.named():
            return function(chunk)
    except ValueError as error:
        return _Fault(str(error))


@dataclass(frozen=True)
class _Fault:
    """What is wrong with a partition: the first of them becomes an error."""

    message: str


@single_thread()
def _sum(parts: list[Any]) -> Any:
    faults = [part for part in parts if isinstance(part, _Fault)]
    found = [part for part in parts if part is not None]
    return faults[0] if faults else reduce(add, found) if found else None


def is_empty(array: Any) -> bool:
    """Tell whether an array or frame has no rows."""
    return getattr(array, "shape", ())[:1] == (0,)


def name_of(number: int) -> str:
    """Return what messages call a partition."""
    return f"X, partition {number}"


# -- collections ----------------------------------------------------------------------


def dask_delayed() -> Any:
    """Return what makes tasks of functions."""
    import dask

    return dask.delayed


def _tasks(collection: Any) -> list[Any]:
    """Return the tasks that return the partitions."""
    tasks = collection.to_delayed()
    return tasks.ravel().tolist() if _is_array(collection) else list(tasks)


def _computed(tasks: list[Any]) -> list[Any]:
    from dask import compute

    results = list(compute(*tasks))
    for result in results:
        if isinstance(result, _Fault):
            raise ValueError(result.message)
    return results


def _is_array(X: Any) -> bool:
    return _has(X, "chunks", "rechunk", "map_blocks")


def is_frame(X: Any) -> bool:
    """Tell whether a collection is a data frame."""
    return _has(X, "npartitions", "map_partitions", "shape")


def _has(X: Any, *names: str) -> bool:
    # A type does not have each name that is asked for, as some objects do.
    return all(hasattr(type(X), name) for name in names)


def _numbers_of(X: Any, name: str, given: Any, n_partitions: int) -> list[Any]:
    """Return the tasks that return a number for each row of partitions, or Nones."""
    if given is None:
        return [None] * n_partitions
    rows = X.chunks[0] if _is_array(X) else (np.nan,)
    known = not np.isnan(rows).any()
    numbers = given
    if known and not in_partitions(numbers):
        from dask.array import from_array

        numbers = np.asarray(to_numpy(numbers))
        if numbers.shape == (sum(rows),):
            numbers = from_array(numbers, chunks=(rows,))
    fits = in_partitions(numbers) and getattr(numbers, "ndim", 0) == 1
    if fits and known and _is_array(numbers) and not np.isnan(numbers.shape[0]):
        fits = numbers.shape[0] == sum(rows)
        numbers = numbers.rechunk((rows,)) if fits else numbers
    if not fits or numbers.npartitions != n_partitions:
        raise ValueError(
            f"{name} is {_described(given)}, but X is "
            f"{_described(X)}. Accepted are a dask array or series with the same "
            "partitions, or, for a dask array X whose chunk sizes are known, an array "
            "with a number for each row."
        )
    return _tasks(numbers)


def _described(array: Any) -> str:
    if in_partitions(array):
        size = f" of shape {array.shape}" if _is_array(array) else ""
        parts = getattr(array, "npartitions", "unknown")
        return f"a dask {type(array).__name__}{size} in {parts} partitions"
    return f"of type {type(array).__name__} and shape {np.shape(array)}"
