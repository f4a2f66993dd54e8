"""Arrays of users, checked: by scikit-learn, and for what it would read wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _check_sample_weight, validate_data

_ACCEPTED = (
    "Accepted are an array-like of shape (n_samples, n_features), a sequence of such "
    "arrays, or a dask array or data frame"
)


def checked_samples(estimator: Any, X: Any, **how: Any) -> Any:
    """Return samples as an array of numbers, as `validate_data` does.

    Raises
    ------
    TypeError
        If X is no array-like, and can be read but once, say.
    ValueError
        If its values are masked, or no numbers, or unusable otherwise.
    """
    _refuse_other_types(X)
    _refuse_masks(X, "X")
    _refuse_dates(X)
    return validate_data(estimator, X, **how)


def checked_weights(sample_weight: Any, array: Any, **how: Any) -> Any:
    """Return sample weights for the rows of `array`, none of them negative.

    Raises
    ------
    ValueError
        If they are masked, or unusable otherwise.
    """
    _refuse_masks(sample_weight, "sample_weight")
    return _check_sample_weight(sample_weight, array, ensure_non_negative=True, **how)


def _refuse_other_types(X: Any) -> None:
    if isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read but once, and a fit reads "
            f"its samples again and again. {_ACCEPTED}: list(X), say."
        )
    # Some sparse matrices are mappings; scikit-learn says what they are.
    if isinstance(X, (Mapping, Set)) and not issparse(X):
        raise TypeError(f"X is a {type(X).__name__}. {_ACCEPTED}.")


def _refuse_masks(array: Any, name: str) -> None:
    """Raise ValueError if some values are masked: they would be taken for others."""
    parts = array if isinstance(array, (list, tuple)) else [array]
    if any(
        isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts
    ):
        raise ValueError(
            f"{name} has masked values, and missing values are not accepted. Leave "
            "out the rows that have some, or fill them."
        )


def _refuse_dates(X: Any) -> None:
    """Raise ValueError if there are dates, or lengths of time, among the features."""
    kinds = {"X": getattr(X, "dtype", None)}
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        pairs = zip(X.columns, X.dtypes, strict=True)
        kinds = {f"column {column!r} of X": kind for column, kind in pairs}
    for name, kind in kinds.items():
        if getattr(kind, "kind", None) in ("M", "m"):
            raise ValueError(
                f"{name} is of type {kind}, but features have to be numbers. Convert "
                "it to a number of seconds or days, say, or leave it out."
            )
