"""Chunks of samples: of maps of files, and of sequences of arrays."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._dataset import Weighing

# Of a map so much is read at once: small beside memory, and large beside a tile.
_BYTES = 2**25


@dataclass(frozen=True)
class Chunk:
    """Some of the samples.

    Attributes
    ----------
    name : str
        Such as ``X[3]`` or ``X[4096:8192]``, for messages.
    array : array-like of shape (n, D)
    weights : array-like of shape (n,) or None
    labels : array-like of shape (n,) or None
        The components that they are known to be of.
    """

    name: str
    array: Any
    weights: Any
    labels: Any = None

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let a ValueError say which chunk it is about."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error


class HasMeans(Protocol):
    """A function of samples that can take the means of its answers."""

    def means(self, X: Any, sample_weight: Any) -> tuple[np.ndarray, Weighing]:
        """Return the weighted means of the answers, and what weights amount to."""


@dataclass(frozen=True)
class Sums:
    """What the answers for some chunks add up to.

    Attributes
    ----------
    sums : ndarray
        Weighted; 0 of no chunk at all, however many answers there are.
    weighing : Weighing or None
        Of chunks that have weight, if one has.
    """

    sums: Any = 0.0
    weighing: Weighing | None = None

    def __add__(self, other: Sums) -> Sums:
        """Return those of both."""
        if self.weighing is None or other.weighing is None:
            return self if other.weighing is None else other
        return Sums(self.sums + other.sums, self.weighing + other.weighing)

    @property
    def means(self) -> tuple[np.ndarray, Weighing]:
        """The weighted means, and what weights amount to; an error without any."""
        if self.weighing is None:
            raise _no_rows()
        return self.sums / (self.weighing.total or 1.0), self.weighing


def in_chunks(X: Any) -> bool:
    """Tell whether samples are read chunk by chunk.

    A map of a file is if it is larger than a chunk. So is whatever has a length and
    items, is no array or table itself, and begins with an array of two dimensions.
    """
    if hasattr(X, "shape") or hasattr(X, "__array__") or isinstance(X, (str, dict)):
        return _is_large_map(X)
    if not (hasattr(X, "__len__") and hasattr(X, "__getitem__")) or len(X) == 0:
        return False
    return len(getattr(X[0], "shape", ())) == 2


def chunks_of(
    X: Any, sample_weight: Any = None, component_labels: Any = None
) -> Iterator[Chunk]:
    """Read one chunk after another, those without rows left out.

    Parameters
    ----------
    X : sequence of array-likes of shape (n, D), or numpy.memmap of shape (N, D)
    sample_weight : sequence of array-likes of shape (n,), or array-like, or None
        One for each item of a sequence, or one number for each row of a map.
    component_labels : as `sample_weight`

    Raises
    ------
    ValueError
        If there are weights or labels for other samples than those.
    """
    given = {"sample_weight": sample_weight, "component_labels": component_labels}
    if _is_large_map(X):
        yield from _blocks("X", X, given)
        return
    for name, values in given.items():
        if values is not None and _length(values) != len(X):
            raise ValueError(
                f"X is a sequence of {len(X)} arrays: {name} must be a sequence of as "
                f"many, one array for each; got {_described(values)}."
            )
    for i in range(len(X)):
        array = X[i]
        own = {name: None if of is None else of[i] for name, of in given.items()}
        if _is_large_map(array):
            yield from _blocks(f"X[{i}]", array, own)
        elif len(getattr(array, "shape", ())) == 0 or array.shape[0] > 0:
            yield Chunk(f"X[{i}]", array, *own.values())


def sums_of(function: HasMeans, chunk: Chunk) -> Sums:
    """Return what the answers for a chunk add up to."""
    # Of a series of pandas, which would leave out NaN, an array.
    if chunk.weights is not None and not np.any(np.asarray(to_numpy(chunk.weights))):
        return Sums()
    means, weighing = function.means(chunk.array, chunk.weights)
    return Sums(weighing.total * means, weighing)


def check_any(found: Any) -> None:
    """Raise ValueError if nothing was found in any chunk."""
    if not found:
        raise _no_rows()


def _no_rows() -> ValueError:
    return ValueError(
        "X has no row in any of its parts, or none of positive weight: at least one is "
        "needed."
    )


def _is_large_map(X: Any) -> bool:
    """Tell whether `X` is a table of numbers, mapped from a file, to read in parts."""
    plain = isinstance(X, np.memmap) and X.ndim == 2 and X.dtype.kind in "fiub"
    return plain and 8 * X.size > _BYTES


def _blocks(name: str, X: np.memmap, given: dict[str, Any]) -> Iterator[Chunk]:
    """Read rows of a map, and weights and labels of these."""
    arrays = []
    for what, values in given.items():
        array = None if values is None else np.asarray(to_numpy(values))
        if array is not None and array.shape != X.shape[:1]:
            raise ValueError(
                f"{name}: {what}.shape == {array.shape}, expected {X.shape[:1]}!"
            )
        arrays.append(array)
    n_rows = max(1, _BYTES // (8 * X.shape[1]))
    for start in range(0, len(X), n_rows):
        rows = slice(start, min(start + n_rows, len(X)))
        own = (None if array is None else array[rows] for array in arrays)
        block: Any = X[rows]
        yield Chunk(f"{name}[{rows.start}:{rows.stop}]", np.asarray(block), *own)
        _release(block)


def _release(block: np.memmap) -> None:
    """Let the system take back the memory that rows of a map were read into.

    The file keeps them. A map that is a private copy would lose what was changed.
    """
    advice = getattr(mmap, "MADV_DONTNEED", None)
    buffer: Any = getattr(block, "_mmap", None)
    mode = getattr(block, "mode", "c")
    if advice is None or buffer is None or mode == "c" or not block.flags.c_contiguous:
        return
    origin, _ = np.frombuffer(buffer, np.uint8).__array_interface__["data"]
    address, _ = block.__array_interface__["data"]
    start = address - origin
    before = start % mmap.PAGESIZE
    buffer.madvise(advice, start - before, block.nbytes + before)


def _length(array: Any) -> int | None:
    return len(array) if hasattr(array, "__len__") else None


def _described(array: Any) -> str:
    length = _length(array)
    return repr(array) if length is None else f"{length} of type {type(array).__name__}"
