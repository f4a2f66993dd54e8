"""Fits to samples that are read piece by piece, once for each sum over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from inspect import signature
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from sklearn_keops_gmm._arrays import ArrayKind, to_tensor
from sklearn_keops_gmm._fitting import Data
from sklearn_keops_gmm._frames import Extent
from sklearn_keops_gmm._parameters import Components, Frame, Moments
from sklearn_keops_gmm._pieces import Piece, check_any, pieces_of
from sklearn_keops_gmm._validation import (
    check_weighted_samples,
    resolve_device,
    resolve_init_size,
)
from sklearn_keops_gmm.backends import Backend, Reductions

# A piece may have no weight at all; scikit-learn < 1.9 does not ask about that.
_ZERO_WEIGHTS = (
    {"allow_all_zero_weights": True}
    if "allow_all_zero_weights" in signature(_check_sample_weight).parameters
    else {}
)

Rows = tuple[Tensor, Tensor | None]  # (n, D) and their weights, (n,)


@dataclass(frozen=True)
class StreamedData(Data):
    """Samples that are never held at once; `points` is a random part of them.

    Attributes
    ----------
    read : callable
        Yields the samples of one piece after another.
    n_samples : int
    weight : float
        Of all samples.
    extent : Extent
    """

    read: Callable[[], Iterator[Rows]]
    n_samples: int
    weight: float
    extent: Extent

    @property
    def total_weight(self) -> float:
        """The sum of the sample weights."""
        return self.weight

    def frame(self) -> Frame:
        """Return the frame in which to compute."""
        return self.extent.frame()

    def bind(self, backend: Backend, frame: Frame) -> Reductions:
        """Return the sums over all pairs."""
        part = backend(self.points, self.sample_weight, frame)
        return StreamedReductions(part, self)


class StreamedReductions:
    """Sums over pairs that read the samples anew each time.

    Parameters
    ----------
    part : Reductions
        Over a part of the samples, to compute as it does.
    data : StreamedData
    """

    def __init__(self, part: Reductions, data: StreamedData) -> None:
        self._part = part
        self._data = data

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self._data.n_samples

    def of_rows(self, rows: Tensor) -> Reductions:
        """Return the reductions over some rows, which are read and held."""
        order = rows.cpu().argsort()
        rows = rows.cpu()[order]
        found: list[Rows] = []
        start = 0
        for points, weights in self._data.read():
            bounds = torch.tensor([start, start + len(points)])
            low, high = torch.searchsorted(rows, bounds)
            inside = (rows[low:high] - start).to(points.device)
            found.append((points[inside], None if weights is None else weights[inside]))
            start += len(points)
        points, weights = _concatenated(found)
        back = order.argsort().to(points.device)
        return self._part.of_others(
            points[back], None if weights is None else weights[back]
        )

    def of_others(self, points: Tensor, sample_weight: Tensor | None) -> Reductions:
        """Return the reductions over other points, computed alike."""
        return self._part.of_others(points, sample_weight)

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        return reduce(add, (part.moments(components) for part in self._parts()))

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, of shape (N,)."""
        return torch.cat([part.log_density(components) for part in self._parts()])

    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,)."""
        return torch.cat([part.labels(components) for part in self._parts()])

    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, of shape (N, M)."""
        return torch.cat([part.responsibilities(components) for part in self._parts()])

    def _parts(self) -> Iterator[Reductions]:
        for points, weights in self._data.read():
            yield self._part.of_others(points, weights)


def read_streamed(
    mixture: Any, X: Any, sample_weight: ArrayLike | None
) -> StreamedData:
    """Go through all pieces once: check them, and draw the samples that starts see.

    Parameters
    ----------
    mixture : estimator
        With `n_components`, `device`, `init_size` and `random_state`.
    X, sample_weight
        What `pieces_of` takes.

    Raises
    ------
    ValueError
        If a piece is unusable, which is then named; if there are fewer samples of
        positive weight than components; or if starts are to see all samples.
    """
    if mixture.init_size is None:
        raise ValueError(
            "init_size=None lets starts see all samples at once, but X is read piece "
            "by piece. Use init_size='auto' or a number of samples."
        )
    size = resolve_init_size(mixture.init_size, 0, mixture.n_components)
    reservoir = Reservoir(size, check_random_state(mixture.random_state))
    n_samples, total_weight = 0, 0.0
    extent = reader = None
    single = True
    for piece in pieces_of(X, sample_weight):
        with piece.named():
            if reader is None:
                reader = Reader.of(mixture, piece)
            points, weights = reader.read(piece, first=n_samples == 0)
        if len(points) == 0:
            continue
        single &= points.dtype == torch.float32
        reservoir.add(points, weights)
        new = Extent.of(points)
        extent = new if extent is None else extent + new
        n_samples += len(points)
        total_weight += (
            len(points) if weights is None else float(weights.sum(dtype=torch.float64))
        )
    check_any(n_samples)
    assert reader is not None
    assert extent is not None
    points, weights = reservoir.rows()
    check_weighted_samples(points, weights, mixture.n_components)
    dtype = torch.float32 if single else torch.float64
    source = Source(reader, dtype, X, sample_weight)
    points, weights = source.cast(points, weights)
    return StreamedData(
        reader.kind, points, weights, source.read, n_samples, total_weight, extent
    )


@dataclass(frozen=True)
class Reader:
    """Makes tensors of pieces.

    Attributes
    ----------
    mixture : estimator
        Is told of the features, or asked whether they are the same.
    kind : ArrayKind
        Of the first piece.
    device : torch.device
        For all.
    """

    mixture: Any
    kind: ArrayKind
    device: torch.device

    @classmethod
    def of(cls, mixture: Any, piece: Piece) -> Reader:
        """Return what reads pieces like the first."""
        kind = ArrayKind.of(piece.array)
        array = piece.array if hasattr(piece.array, "shape") else np.empty((0, 0))
        if len(array.shape) != 2:
            array = np.empty((0, 0))  # an error to come
        return cls(
            mixture, kind, resolve_device(mixture.device, array, mixture.n_components)
        )

    def read(self, piece: Piece, *, first: bool = False, checked: bool = False) -> Rows:
        """Return the samples of a piece that count, and their weights.

        Parameters
        ----------
        piece : Piece
        first : bool, default=False
            Whether it says what the features are.
        checked : bool, default=False
            Whether it is known to be finite.
        """
        array: Any = validate_data(
            self.mixture,
            piece.array,
            reset=first,
            dtype=self.kind.float_dtypes,
            order="C",
            ensure_all_finite=not checked,
        )
        weights = None
        if piece.weights is not None:
            found = _check_sample_weight(
                piece.weights,
                array,
                dtype=array.dtype,
                ensure_non_negative=True,
                **_ZERO_WEIGHTS,
            )
            weights = to_tensor(found, self.device)
        return check_weighted_samples(to_tensor(array, self.device), weights, 0)


@dataclass(frozen=True)
class Source:
    """Reads all pieces again, in one dtype."""

    reader: Reader
    dtype: torch.dtype
    X: Any
    sample_weight: Any

    def read(self) -> Iterator[Rows]:
        """Yield the samples of one piece after another."""
        for piece in pieces_of(self.X, self.sample_weight):
            with piece.named():
                points, weights = self.reader.read(piece, checked=True)
            if len(points) > 0:
                yield self.cast(points, weights)

    def cast(self, points: Tensor, weights: Tensor | None) -> Rows:
        """Return samples in the dtype of all."""
        return points.to(self.dtype), None if weights is None else weights.to(
            self.dtype
        )


class Reservoir:
    """A random sample of rows that come one after another.

    Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical
    Software 11 (1985), algorithm R. It does not depend on how rows are divided into
    pieces, and is all of them, in order, if there are no more than `size`.
    """

    def __init__(self, size: int, random_state: RandomState) -> None:
        self._size = size
        self._random_state = random_state
        self._seen = 0
        self._held: list[Rows] = []

    def add(self, points: Tensor, weights: Tensor | None) -> None:
        """Show more rows."""
        n, room = len(points), max(0, self._size - self._seen)
        taken = np.arange(min(room, n))
        slots = self._seen + taken
        if n > room:
            late = np.arange(len(taken), n)
            numbers = self._random_state.random_sample(len(late))
            places = (numbers * (self._seen + late + 1)).astype(np.int64)
            hit = places < self._size
            taken = np.concatenate((taken, late[hit]))
            slots = np.concatenate((slots, places[hit]))
        self._seen += n
        if len(taken) == 0:
            return
        # The last to come to a place stays there.
        slots, last = np.unique(slots[::-1], return_index=True)
        index = torch.from_numpy(taken[::-1][last]).to(points.device)
        new = points[index], None if weights is None else weights[index]
        held, _ = self._held[0] if self._held else (points[:0], None)
        stays = torch.ones(len(held), dtype=torch.bool, device=points.device)
        replaced = slots[slots < len(held)]
        stays[torch.from_numpy(replaced).to(points.device)] = False
        order = np.argsort(np.concatenate((_positions(stays), slots)))
        kept = [(p[stays], None if w is None else w[stays]) for p, w in self._held]
        both, both_weights = _concatenated([*kept, new])
        where = torch.from_numpy(order).to(points.device)
        self._held = [
            (both[where], None if both_weights is None else both_weights[where])
        ]

    def rows(self) -> Rows:
        """Return the sample, and the weights of its rows."""
        return self._held[0]


def _positions(mask: Tensor) -> np.ndarray:
    return np.flatnonzero(mask.cpu().numpy())


def _concatenated(parts: list[Rows]) -> Rows:
    """Put rows one after another, in the widest of their dtypes."""
    points = torch.cat([points for points, _ in parts])
    weights = [weights for _, weights in parts if weights is not None]
    return points, torch.cat(weights) if weights else None
