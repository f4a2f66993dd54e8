"""Rows to train on and to test on."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.model_selection import KFold, check_cv

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._regularization import n_distinct_rows
from sklearn_keops_gmm._model import CRITERIA

# Indices of the rows to train on and to test on.
Fold = tuple[np.ndarray, np.ndarray]


class Parameters(Protocol):
    """The estimator's parameters that folds depend on."""

    criterion: str
    cv: Any
    one_standard_error: bool
    random_state: int | RandomState | None


def check_can_hold_out(search: Parameters, X: Any, parts: str | None) -> None:
    """Raise ValueError if rows are to be held out of samples that come in parts."""
    if search.criterion == "cv" and parts is not None:
        able = ", ".join(f"criterion={name!r}" for name in CRITERIA)
        raise ValueError(
            "criterion='cv' holds out rows of X, which has to be one array for that; "
            f"got {type(X).__name__}, in {parts}. Use {able}."
        )


def folds_of(
    search: Parameters, n_samples: int, counts: torch.Tensor | None
) -> list[Fold]:
    """Return the rows to train on and to test on, none if the criterion needs none.

    Parameters
    ----------
    search : estimator
    n_samples : int
        How many rows were given.
    counts : Tensor of shape (n_samples,), bool, or None
        Which of them count: folds are positions among these.

    Raises
    ------
    ValueError
        If `cv` needs targets or groups, or makes too few folds.
    """
    if search.criterion != "cv":
        return []
    folds = _folds_of_all(search.cv, n_samples, search.random_state)
    if not folds:
        raise ValueError(f"cv={search.cv!r} makes no folds: one at least is needed.")
    if search.one_standard_error and len(folds) < 2:
        raise ValueError(
            "one_standard_error=True needs two folds or more, to tell the error of "
            f"their mean; cv={search.cv!r} makes {len(folds)}."
        )
    for rows in (rows for fold in folds for rows in fold):
        if len(rows) and not -n_samples <= np.min(rows) <= np.max(rows) < n_samples:
            raise ValueError(
                f"cv has rows from {np.min(rows)} to {np.max(rows)}, but there are "
                f"{n_samples} samples."
            )
    return _rows_that_count(folds, counts)


def _folds_of_all(cv: Any, n_samples: int, random_state: Any) -> list[Fold]:
    given = cv
    if cv is None or isinstance(cv, Integral):
        # Rows often come grouped: folds of neighbours would miss components.
        n_folds = 5 if cv is None else int(cv)
        cv = KFold(n_folds, shuffle=True, random_state=random_state)
    try:
        return list(check_cv(cv).split(np.arange(n_samples)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv={given!r} cannot split {n_samples} samples without targets or "
            f"groups: {error}"
        ) from error


def _rows_that_count(folds: list[Fold], counts: torch.Tensor | None) -> list[Fold]:
    """Return the folds as positions among the rows that count, (N,) bool."""
    if counts is None:
        return folds
    held = counts.cpu().numpy()
    positions = np.cumsum(held) - 1
    return [
        (positions[train[held[train]]], positions[test[held[test]]])
        for train, test in folds
    ]


def components_in_folds(
    folds: list[Fold], points: torch.Tensor, n_components: int
) -> int:
    """Return the most components that each fold has distinct rows to train on for.

    Raises
    ------
    ValueError
        If a fold has too few rows for `n_components`, distinct or not.
    """
    for i, (train, test) in enumerate(folds):
        for name, rows, least in (("train", train, n_components), ("test", test, 1)):
            if len(rows) < least:
                raise ValueError(
                    f"Fold {i} of cv has {len(rows)} rows that count to {name} "
                    f"on; with n_components={n_components} it needs {least} or more."
                )
    for train, _ in folds:
        index = torch.as_tensor(train, device=points.device)
        n_components = n_distinct_rows(points[index], n_components)
    return n_components


def rows_of(data: Data, rows: np.ndarray) -> Data:
    """Return some of the samples, with their weights."""
    index = torch.as_tensor(rows, device=data.points.device)
    weights = data.sample_weight
    return replace(
        data,
        points=data.points[index],
        sample_weight=None if weights is None else weights[index],
        whole=data.box,
    )
