"""Fits to samples that are read piece by piece, once for each sum over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_keops_gmm._data._checks import check_weighted_samples
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
)
from sklearn_keops_gmm._data._chunks import check_any, pieces_of
from sklearn_keops_gmm._data._fitted import Placement
from sklearn_keops_gmm._data._input import checked_samples


def read_streamed(
    mixture: Any,
    X: Any,
    sample_weight: ArrayLike | None,
    *,
    min_samples: int | None = None,
    reset: bool = True,
) -> PartedData:
    """Go through all pieces once: check them, and draw the samples that starts see.

    Parameters
    ----------
    mixture : estimator
        With `n_components`, `device`, `init_size` and `random_state`.
    X, sample_weight
        What `pieces_of` takes.
    min_samples, reset
        As for `read_data`.

    Raises
    ------
    ValueError
        If a piece is unusable, which is then named; if there are fewer samples of
        positive weight than components; or if starts are to see all samples.
    """
    size = size_of_sample(mixture, "piece")
    reservoir = Reservoir(size, check_random_state(mixture.random_state))
    summary = reader = None
    for piece in pieces_of(X, sample_weight):
        with piece.named():
            if reader is None:
                validate = partial(checked_samples, mixture)
                reader = Reader.of(validate, Placement.of(mixture), piece)
            points, weights = reader.read(piece, reset=reset and summary is None)
        if len(points) == 0:
            continue
        reservoir.add(points, weights)
        new = Summary.of(points, weights)
        summary = new if summary is None else summary + new
    check_any(summary)
    assert reader is not None
    assert summary is not None
    points, weights = cast(reservoir.rows(), summary.dtype)
    check_weighted_samples(
        points, weights, mixture.n_components if min_samples is None else min_samples
    )
    pieces = Pieces(reader, summary.dtype, X, sample_weight)
    return PartedData(reader.kind, points, weights, pieces, summary)


@dataclass(frozen=True)
class Pieces:
    """Reads all pieces again, in one dtype: the parts of samples in pieces."""

    reader: Reader
    dtype: torch.dtype
    X: Any
    sample_weight: Any

    def each(self, function: Callable[[Tensor, Tensor | None], Result]) -> list[Result]:
        """Return what `function` returns of the samples and weights of each piece."""
        return list(self._mapped(function))

    def total(self, function: Callable[[Tensor, Tensor | None], Any]) -> Any:
        """Return the sum of that."""
        return reduce(add, self._mapped(function))

    def _mapped(
        self, function: Callable[[Tensor, Tensor | None], Result]
    ) -> Iterator[Result]:
        for piece in pieces_of(self.X, self.sample_weight):
            with piece.named():
                points, weights = self.reader.read(piece, checked=True, reset=False)
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
            check_still_finite(points[some])
            return points[some], None if weights is None else weights[some]

        return joined_rows(self.each(inside))


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
        both, both_weights = joined_rows([*kept, new])
        where = torch.from_numpy(order).to(points.device)
        self._held = [
            (both[where], None if both_weights is None else both_weights[where])
        ]

    def rows(self) -> Rows:
        """Return the sample, and the weights of its rows."""
        return self._held[0]


def _positions(mask: Tensor) -> np.ndarray:
    return np.flatnonzero(mask.cpu().numpy())
