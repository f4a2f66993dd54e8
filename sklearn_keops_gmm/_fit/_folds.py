"""Rows to train on and to test on."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import KFold, check_cv

from sklearn_keops_gmm._data import Data

# Indices of the rows to train on and to test on.
Fold = tuple[np.ndarray, np.ndarray]


def make_folds(cv: Any, n_samples: int, random_state: Any, n_least: int) -> list[Fold]:
    """Return the rows to train on and to test on, of all that were given.

    Parameters
    ----------
    cv : int, cross-validation generator, iterable or None
    n_samples : int
    random_state : int, RandomState instance or None
        Shuffles where `cv` is a number.
    n_least : int
        One fold, or two where their mean needs a standard error.

    Raises
    ------
    ValueError
        If `cv` needs targets or groups, or makes too few folds.
    """
    given = cv
    if cv is None or isinstance(cv, Integral):
        # Rows often come grouped: folds of neighbours would miss components.
        n_folds = 5 if cv is None else int(cv)
        cv = KFold(n_folds, shuffle=True, random_state=random_state)
    try:
        folds = list(check_cv(cv).split(np.arange(n_samples)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv={given!r} cannot split {n_samples} samples without targets or "
            f"groups: {error}"
        ) from error
    if len(folds) < n_least:
        raise ValueError(
            "one_standard_error=True needs two folds or more, to tell the error of "
            f"their mean; cv={given!r} makes {len(folds)}."
        )
    return folds


def rows_that_count(folds: list[Fold], counts: torch.Tensor | None) -> list[Fold]:
    """Return the folds as positions among the rows that count, (N,) bool."""
    if counts is None:
        return folds
    held = counts.cpu().numpy()
    positions = np.cumsum(held) - 1
    return [
        (positions[train[held[train]]], positions[test[held[test]]])
        for train, test in folds
    ]


def check_folds(folds: list[Fold], n_components: int) -> None:
    """Raise ValueError if a fold has too few rows."""
    for i, (train, test) in enumerate(folds):
        for name, rows, least in (("train", train, n_components), ("test", test, 1)):
            if len(rows) < least:
                raise ValueError(
                    f"Fold {i} of cv has {len(rows)} rows that count to {name} "
                    f"on; with n_components={n_components} it needs {least} or more."
                )


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
