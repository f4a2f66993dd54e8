"""Samples in partitions of dask arrays and frames: the one home of dask.

Nothing is computed but what is asked for, by the scheduler that the user has chosen,
and nothing is kept: collections that fit the memory of the workers are for the user
to persist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._chunks import Piece, mean_of_sums, sums_of
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
    """Tasks of dask that return some of the samples, and their weights."""

    number: int
    array: Any
    weights: Any


@dataclass(frozen=True)
class Partitions:
    """All partitions of a collection, in order.

    Functions that they are mapped by take a `Piece`. One function is one task that
    all others depend on, so that it is sent to each worker once.
    """

    items: tuple[Partition, ...]

    def each(self, function: Callable[[Piece], Any]) -> list[Any]:
        """Return what `function` returns of each; None for those without rows."""
        return _computed(self._mapped(function))

    def total(self, function: Callable[[Piece], Any]) -> Any:
        """Return the sum of that; None if none has rows.

        Tasks add up a few partitions, or sums of them, each.
        """
        added = _delayed()(_sum, pure=False)
        sums = self._mapped(function)
        while len(sums) > 1:
            sums = [added(sums[i : i + FAN_IN]) for i in range(0, len(sums), FAN_IN)]
        return _computed(sums)[0] if sums else None

    def each_own(self, functions: Sequence[Callable[[Piece], Any]]) -> list[Any]:
        """Return what its own function returns of each."""
        pairs = zip(self.items, functions, strict=True)
        return _computed(
            [Partitions((item,))._mapped(function)[0] for item, function in pairs]
        )

    def only(self, chosen: Sequence[bool]) -> Partitions:
        """Return some of the partitions."""
        pairs = zip(self.items, chosen, strict=True)
        return Partitions(tuple(item for item, keep in pairs if keep))

    def _mapped(self, function: Callable[[Piece], Any]) -> list[Any]:
        delayed = _delayed()
        shared = delayed(function, traverse=False, pure=False)
        mapped = delayed(_on_partition, pure=False)
        return [
            mapped(shared, item.number, item.array, item.weights) for item in self.items
        ]


def partitions_of(X: Any, sample_weight: Any = None) -> Partitions:
    """Return the partitions of a collection, and the weights of their rows.

    Parameters
    ----------
    X : dask array or data frame of shape (N, D)
        N need not be known. An array is rechunked if rows are divided.
    sample_weight : dask array or series, or array-like, of shape (N,), or None
        With the same partitions, if it is a collection of unknown sizes; numbers of
        rows have to be known for anything else.

    Raises
    ------
    ValueError
        If `X` is something else, or the weights are for other partitions.
    """
    X = in_whole_rows(X)
    arrays = _tasks(X)
    weights = _weights_of(X, sample_weight, len(arrays))
    pairs = enumerate(zip(arrays, weights, strict=True))
    return Partitions(tuple(Partition(i, *pair) for i, pair in pairs))


def in_whole_rows(X: Any) -> Any:
    """Return a collection of the same samples, none of which is divided."""
    if not (_is_array(X) or _is_frame(X)):
        raise ValueError(
            f"X is a dask {type(X).__name__}. Of the collections of dask, arrays and "
            "data frames are accepted."
        )
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got {len(X.shape)}D array instead: X is a dask "
            f"{type(X).__name__}, and has to be of shape (n_samples, n_features)."
        )
    if _is_frame(X):
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
    return X._meta if _is_frame(X) else np.empty((0, X.shape[1]), X.dtype)


def lazily(question: Any, X: Any) -> Any:
    """Return the answers to a question, as a dask array that is not computed yet.

    Parameters
    ----------
    question : SampleFunction
    X : dask array or data frame
    """
    X = in_whole_rows(X)
    dtype = question.checks.validate(
        like(X), dtype=[np.float64, np.float32], ensure_min_samples=0
    ).dtype
    columns = () if question.n_columns is None else (question.n_columns,)
    meta = np.empty((0, *columns), question.dtype or dtype)
    shared = _delayed()(question, traverse=False, pure=False)
    if _is_frame(X):
        return X.map_partitions(_answers_of_frame, shared, meta, meta=meta)
    shape = {"chunks": (X.chunks[0], columns)} if columns else {"drop_axis": 1}
    return X.map_blocks(
        _answers_of_block, shared, none=meta, meta=meta, dtype=meta.dtype, **shape
    )


def mean_of_partitions(
    question: Any, X: Any, sample_weight: Any
) -> tuple[float, float]:
    """Return the weighted mean of the answers, and the sum of the weights."""
    sums = partitions_of(X, sample_weight).total(partial(sums_of, question))
    return mean_of_sums(np.zeros(2) if sums is None else sums)


# -- tasks ----------------------------------------------------------------------------


@single_thread()
def _on_partition(
    function: Callable[[Piece], Any], number: int, array: Any, weights: Any
) -> Any:
    if _is_empty(array):
        return None
    piece = Piece(_name(number), array, weights)
    try:
        with piece.named():
            return function(piece)
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


@single_thread()
def _answers_of_block(
    block: Any, question: Any, none: np.ndarray, block_id: tuple[int, ...]
) -> Any:
    if _is_empty(block):
        return none
    with Piece(_name(block_id[0]), block, None).named():
        return question(block)


def _answers_of_frame(
    frame: Any, question: Any, none: np.ndarray, partition_info: dict[str, Any] | None
) -> Any:
    number = 0 if partition_info is None else partition_info["number"]
    return _answers_of_block(frame, question, none, (number,))


def _is_empty(array: Any) -> bool:
    return getattr(array, "shape", ())[:1] == (0,)


def _name(number: int) -> str:
    return f"X, partition {number}"


# -- collections ----------------------------------------------------------------------


def _delayed() -> Any:
    from dask import delayed

    return delayed


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


def _is_frame(X: Any) -> bool:
    return _has(X, "npartitions", "map_partitions", "shape")


def _has(X: Any, *names: str) -> bool:
    # A type does not have each name that is asked for, as some objects do.
    return all(hasattr(type(X), name) for name in names)


def _weights_of(X: Any, sample_weight: Any, n_partitions: int) -> list[Any]:
    """Return the tasks that return the weights of each partition, or Nones."""
    if sample_weight is None:
        return [None] * n_partitions
    rows = X.chunks[0] if _is_array(X) else (np.nan,)
    known = not np.isnan(rows).any()
    weights = sample_weight
    if known and not in_partitions(weights):
        from dask.array import from_array

        weights = np.asarray(to_numpy(weights))
        if weights.shape == (sum(rows),):
            weights = from_array(weights, chunks=(rows,))
    fits = in_partitions(weights) and getattr(weights, "ndim", 0) == 1
    if fits and known and _is_array(weights) and not np.isnan(weights.shape[0]):
        fits = weights.shape[0] == sum(rows)
        weights = weights.rechunk((rows,)) if fits else weights
    if not fits or weights.npartitions != n_partitions:
        raise ValueError(
            f"sample_weight is {_described(sample_weight)}, but X is "
            f"{_described(X)}. Accepted are a dask array or series with the same "
            "partitions, or, for a dask array X whose chunk sizes are known, an array "
            "with a number for each row."
        )
    return _tasks(weights)


def _described(array: Any) -> str:
    if in_partitions(array):
        size = f" of shape {array.shape}" if _is_array(array) else ""
        parts = getattr(array, "npartitions", "unknown")
        return f"a dask {type(array).__name__}{size} in {parts} partitions"
    return f"of type {type(array).__name__} and shape {np.shape(array)}"
