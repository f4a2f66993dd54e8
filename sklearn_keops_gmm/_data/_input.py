"""Arrays of users, checked: by scikit-learn, and for what it would read wrongly."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _check_sample_weight, validate_data

from sklearn_keops_gmm._data._arrays import plain_tensor

_PLAIN_DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
_ACCEPTED = (
    "Accepted are an array-like of shape (n_samples, n_features), a sequence of such "
    "arrays, or a dask array or data frame"
)


def checked_samples(estimator: Any, X: Any, **how: Any) -> Any:
    """Return samples as an array of numbers, as `validate_data` does.

    What is missing is NaN: masked values, None, and NA of pandas too.

    Raises
    ------
    TypeError
        If X is no array-like, and can be read but once, say.
    ValueError
        If its values are no numbers, or infinite, or unusable otherwise.
    """
    X = plain_tensor(X)
    if how.get("reset", True) and _are_usable_as_given(X, **how):
        # What scikit-learn would make of them, which takes it as long as a few steps.
        estimator.n_features_in_ = X.shape[1]
        vars(estimator).pop("feature_names_in_", None)
        return X
    _refuse_other_types(X)
    X = _with_an_end(X)
    _refuse_dates(X)
    how = {"ensure_all_finite": "allow-nan"} | how
    try:
        return validate_data(estimator, _with_nan(X), **how)
    except (ValueError, TypeError):
        _refuse_what_is_no_number(X)
        raise


def is_plain(array: Any) -> bool:
    """Tell whether scikit-learn takes an array as it is: of finite numbers."""
    return _has_plain_dtype(array) and array.ndim > 0 and _is_finite(array)


def are_plain_samples(X: Any, *, finite: bool = False) -> bool:
    """Tell whether it takes samples as they are; `finite` says that numbers are."""
    return (
        _has_plain_dtype(X)
        and X.ndim == 2
        and X.flags.c_contiguous
        and (finite or _is_finite(X))
    )


def _has_plain_dtype(array: Any) -> bool:
    plain = type(array) is np.ndarray and array.dtype in _PLAIN_DTYPES
    return plain and array.size > 0


def _is_finite(array: np.ndarray) -> bool:
    """Tell whether all numbers are, and none so large that their sum is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(array.sum())


def _are_usable_as_given(
    X: Any, *, dtype: Any = None, ensure_min_samples: int = 1, **how: Any
) -> bool:
    return (
        dtype is not None
        and how.keys() <= {"reset", "order"}
        and are_plain_samples(X)
        and X.dtype in dtype
        and len(X) >= ensure_min_samples
    )


def checked_weights(sample_weight: Any, array: Any, **how: Any) -> Any:
    """Return sample weights for the rows of `array`, none of them negative.

    Raises
    ------
    ValueError
        If they are masked, or unusable otherwise.
    """
    if _are_plain_weights(sample_weight, array, how.get("dtype")):
        return sample_weight
    _refuse_masks(sample_weight)
    sample_weight = plain_tensor(sample_weight)
    return _check_sample_weight(sample_weight, array, ensure_non_negative=True, **how)


def _are_plain_weights(weights: Any, array: Any, dtype: Any) -> bool:
    """Tell whether scikit-learn would return weights as they are, which takes long."""
    if type(weights) is not np.ndarray or weights.dtype != dtype:
        return False
    if weights.shape != (len(array),) or not len(array):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(weights.min() >= 0.0 and 0.0 < weights.sum() < np.inf)


def _refuse_other_types(X: Any) -> None:
    if isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read but once, and a fit reads "
            f"its samples again and again. {_ACCEPTED}: list(X), say."
        )
    if callable(getattr(X, "collect", None)):  # as of polars
        raise TypeError(
            f"X is a {type(X).__name__}, which is not computed yet. {_ACCEPTED}: "
            "X.collect(), say."
        )
    # Some sparse matrices are mappings; scikit-learn says what they are.
    if isinstance(X, (Mapping, Set)) and not issparse(X):
        raise TypeError(f"X is a {type(X).__name__}. {_ACCEPTED}.")


def _with_an_end(X: Any) -> Any:
    """Return what has but a length and items, as torch's data sets, as a list.

    numpy would ask for items until there is an IndexError, which need never come.
    """
    others = ("__iter__", "__array__", "__array_interface__", "shape")
    if any(hasattr(X, name) for name in others):
        return X
    if not (hasattr(X, "__len__") and hasattr(X, "__getitem__")):
        return X
    return [X[i] for i in range(len(X))]


def _with_nan(X: Any) -> Any:
    """Return samples with NaN in place of what numpy or pandas calls missing."""
    if isinstance(X, (list, tuple)):
        return [_with_nan(row) for row in X] if _has_masks(X) else X
    if _is_masked(X):
        dtype = X.dtype if X.dtype.kind == "f" else np.float64
        return X.astype(dtype).filled(np.nan)
    # scikit-learn converts NA of columns of numbers, but not among objects.
    is_frame = hasattr(X, "notna") and hasattr(X, "columns")
    if is_frame and any(kind.kind == "O" for kind in X.dtypes):
        return X.where(X.notna(), np.nan)
    if isinstance(X, np.ndarray) and X.dtype == object:
        unknown = [_is_na(value) for value in X.flat]
        return np.where(np.reshape(unknown, X.shape), np.nan, X) if any(unknown) else X
    return X


def _is_masked(array: Any) -> bool:
    return isinstance(array, np.ma.MaskedArray) and bool(np.ma.is_masked(array))


def _has_masks(rows: Any) -> bool:
    return any(_is_masked(row) for row in rows)


def _refuse_masks(weights: Any) -> None:
    """Raise ValueError if some weights are masked: they would be taken for others."""
    parts = weights if isinstance(weights, (list, tuple)) else [weights]
    if _has_masks(parts):
        raise ValueError(
            "sample_weight has masked values, and every sample needs a weight. Leave "
            "out the rows that have none, or fill them: with 0, say."
        )


def _refuse_dates(X: Any) -> None:
    """Raise ValueError if there are dates, or lengths of time, among the features."""
    kinds = {"X": getattr(X, "dtype", None)}
    if _is_table(X):
        pairs = zip(X.columns, X.dtypes, strict=True)
        kinds = {f"column {column!r} of X": kind for column, kind in pairs}
    for name, kind in kinds.items():
        if getattr(kind, "kind", None) in ("M", "m") or _is_temporal(kind):
            raise ValueError(
                f"{name} is of type {kind}, but features have to be numbers. Convert "
                "it to a number of seconds or days, say, or leave it out."
            )


def _is_temporal(kind: Any) -> bool:
    """Tell whether polars calls a type so, which has no letter for its kind."""
    ask = getattr(kind, "is_temporal", None)
    return ask is not None and bool(ask())


def _is_table(X: Any) -> bool:
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def _refuse_what_is_no_number(X: Any) -> None:
    """Raise ValueError if a column of a table cannot be converted, and name it."""
    if not _is_table(X):
        return
    for i, (name, kind) in enumerate(zip(X.columns, X.dtypes, strict=True)):
        # Names may be repeated: columns are taken by their places.
        column = np.asarray(X.iloc[:, i] if hasattr(X, "iloc") else X[:, i])
        if column.dtype.kind in "biuf":
            continue
        for value in column.astype(object):
            if not _is_number(value):
                shown = str(value) if isinstance(value, str) else value
                raise ValueError(
                    f"column {name!r} of X is of type {kind}, and "
                    f"{reprlib.repr(shown)} in it is no number, but features have to "
                    "be. Leave the column out, or encode it as numbers."
                )


def _is_number(value: Any) -> bool:
    """Tell whether a value can be converted to a number, or is missing."""
    try:
        float(value)
    except (ValueError, TypeError):
        return value is None or _is_na(value)
    return True


def _is_na(value: Any) -> bool:
    """Tell whether a value is pandas' NA, without a need of pandas."""
    return type(value).__name__ == "NAType"
