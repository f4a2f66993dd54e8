"""What a mixture says of features that are missing, given those that are not."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind
from sklearn_keops_gmm._data._dask import in_partitions, stacked
from sklearn_keops_gmm._data._query import (
    Bound,
    SampleFunction,
    conditional_means,
    tiles,
)
from sklearn_keops_gmm._data._source import as_source
from sklearn_keops_gmm._model import GaussianMixtureModel, Regression
from sklearn_keops_gmm.backends import (
    IncompleteReductions,
    has_missing,
)

# Draws of samples that are few are made at once, so many rows in all.
_ROWS_AT_ONCE = 2**14


class MakesFunction(Protocol):
    """Makes what a mixture answers about samples, by the name of the method."""

    def __call__(
        self, method: str, answer: Any, *, n_columns: int
    ) -> SampleFunction: ...


def impute(
    function: MakesFunction,
    X: Any,
    n_features: int,
    n_draws: int | None,
    random_state: int | RandomState | None,
) -> Any:
    """Return samples, (N, D), whose missing features have their conditional means.

    Or so many draws of them, (n_draws, N, D).

    Raises
    ------
    ValueError
        If samples are unusable, or `n_draws` is less than 1.
    """
    source = as_source(X)

    def ask(answer: Callable[[Bound], Tensor], n_columns: int) -> Any:
        found = function("impute", answer, n_columns=n_columns)
        return source.map(found.without_noise())

    if n_draws is None:
        return ask(filled_in, n_features)
    if not _is_count(n_draws):
        raise ValueError(f"'n_draws' must be an integer >= 1 or None; got {n_draws!r}.")
    generator = check_random_state(random_state)
    # What comes in parts is for parts that fill the memory.
    n_rows = len(X) if source.parts is None and hasattr(X, "__len__") else _ROWS_AT_ONCE
    at_once = max(1, _ROWS_AT_ONCE // max(1, n_rows))
    draws: list[Any] = []
    while (n_left := n_draws - len(draws)) > 0:
        n_now = min(n_left, at_once)
        seed = int(generator.randint(np.iinfo(np.int32).max))
        found = ask(partial(drawn, seed, n_now), n_now * n_features)
        columns = (slice(i * n_features, (i + 1) * n_features) for i in range(n_now))
        draws += [found[:, some] for some in columns]
    if in_partitions(draws[0]):
        return stacked(draws)
    return ArrayKind.of(*draws).xp.stack(draws)


def _is_count(number: Any) -> bool:
    return isinstance(number, Integral) and int(number) >= 1


def filled_in(bound: Bound) -> Tensor:
    """Return the points with conditional means for what is missing, (N, D)."""
    return _in_tiles(bound, lambda reductions: reductions.imputed(bound.components))


def drawn(seed: int, n_draws: int, bound: Bound) -> Tensor:
    """Return the points with conditional draws for what is missing, (N, n_draws D).

    The points are part of the seed: other parts of the samples have other draws.
    """
    content = zlib.crc32(bound.points.cpu().numpy().tobytes())
    generator = RandomState([seed, content])
    several = replace(bound, points=bound.points.repeat(n_draws, 1))
    found = _in_tiles(
        several, lambda reductions: reductions.drawn(bound.components, generator)
    )
    return torch.hstack(found.split(len(bound.points)))


def _in_tiles(bound: Bound, ask: Callable[[IncompleteReductions], Tensor]) -> Tensor:
    """Return what is found of some rows after another."""
    whole = bound.points.clone()
    if has_missing(bound.points):
        for rows in tiles(len(whole), len(bound.components.offsets)):
            reductions = bound.of_rows(rows).reductions
            assert isinstance(reductions, IncompleteReductions)
            whole[rows] = ask(reductions)
    return whole


def means_given(
    model: GaussianMixtureModel,
    given: Sequence[int],
    regression: Regression,
    bound: Bound,
) -> Tensor:
    """Return the means of all other features, (N, T), given some of a model.

    Parameters
    ----------
    model : GaussianMixtureModel
    given : sequence of int
    regression : Regression
        Of the other features on these.
    bound : Bound
        Of the features that are given, which may be missing in turn.
    """
    if not has_missing(bound.points):
        return conditional_means(regression, bound)
    points, device = bound.points, bound.points.device
    others = [i for i in range(model.n_features) if i not in set(given)]
    whole = points.new_full((len(points), model.n_features), torch.nan)
    whole[:, list(given)] = points
    frame, components = model.frame.to(device), model.components.to(device)
    bound = replace(bound, points=whole, frame=frame, components=components)
    return filled_in(bound)[:, others]
