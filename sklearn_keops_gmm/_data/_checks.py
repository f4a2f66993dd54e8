"""Checks of what users give, before any work is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array, check_scalar
from torch import Tensor

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm.backends import has_missing

# What keeps the parameters of a fit for what goes on from it.
SETTINGS = "_settings"
# What a fit sets beside attributes whose names end in an underscore.
_PRIVATE = {"_memory", SETTINGS}
# What k-means sees by default: samples, or samples per component where that is more.
_INIT_SIZE, _INIT_SIZE_PER_COMPONENT = 20_000, 100
# Pairs times features from which the transfer to a GPU is worth its time.
_WORTH_A_TRANSFER = 10**8
_DEVICES = ("cpu", "cuda")


def check_weighted_samples(
    points: Tensor,
    sample_weight: Tensor | None,
    min_samples: int,
    estimator: Any = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the samples that count, (N, D), their weights, (N,), and which these are.

    The last is (n_given,) bool, or None if all are.

    Raises
    ------
    ValueError
        If fewer samples count than are needed, as for the `n_components` of an
        estimator.
    """
    counts = samples_that_count(points, sample_weight)
    if counts is not None:
        points = points[counts]
        sample_weight = None if sample_weight is None else sample_weight[counts]
    if len(points) < min_samples:
        left_out = "samples without weight, or of which nothing is observed, do not"
        if len(points) == 0:
            raise ValueError(f"X has no samples that count: {left_out}.")
        left_out = "" if counts is None else f": {left_out} count"
        # Of each component one is needed; all else is the estimator's own.
        if getattr(estimator, "n_components", None) == min_samples:
            raise ValueError(
                "Expected n_samples >= n_components but got "
                f"n_components = {min_samples}, n_samples = {len(points)}{left_out}"
            )
        raise ValueError(
            f"Found {len(points)} sample(s) while a minimum of {min_samples} is "
            f"required by {type(estimator).__name__}{left_out}."
        )
    return points, sample_weight, counts


def samples_that_count(points: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Tell which samples have a weight, and a feature that is observed, (N,) bool.

    Returns
    -------
    counts : Tensor of shape (N,) or None
        None if all do.
    """
    counts: Tensor | None = None
    if sample_weight is not None and bool((sample_weight == 0).any()):
        counts = sample_weight > 0
    if has_missing(points):
        empty = points.isnan().all(1)
        if bool(empty.any()):
            counts = ~empty if counts is None else counts & ~empty
    return counts


def check_observed(observed: np.ndarray, estimator: Any) -> None:
    """Raise ValueError unless each feature, (D,) bool, is observed in some sample."""
    if not observed.all():
        unknown = np.flatnonzero(~observed).tolist()
        names = getattr(estimator, "feature_names_in_", range(len(observed)))
        listed = ", ".join(repr(names[i]) for i in unknown[:5])
        raise ValueError(
            f"X has features of which no value is observed: {listed}"
            f"{', ...' * (len(unknown) > 5)}. Leave them out."
        )


def check_representable(attributes: dict[str, Tensor]) -> None:
    """Raise ValueError if a number of a fitted attribute is infinite or NaN."""
    for name, array in attributes.items():
        # A finite sum says that all are: few arrays need a closer look.
        if not (math.isfinite(array.sum()) or bool(torch.isfinite(array).all())):
            dtype = str(array.dtype).removeprefix("torch.")
            raise ValueError(
                f"{name} would hold numbers that are not finite in {dtype}: components "
                "are too narrow, too wide or too far away for it. Scale the input "
                "data, increase reg_covar, or give the data in double precision."
            )


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Leave an estimator's fitted attributes as they were if a fit fails."""
    before = _fitted_attributes(estimator)
    try:
        yield
    except BaseException:
        for name in _fitted_attributes(estimator):
            del estimator.__dict__[name]
        estimator.__dict__.update(before)
        raise


def _fitted_attributes(estimator: Any) -> dict[str, Any]:
    """Return what a fit has set: names that end in an underscore, and the memory."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if (name.endswith("_") and not name.startswith("_")) or name in _PRIVATE
    }


def resolve_init_size(
    init_size: str | int | None, n_samples: int, n_components: int
) -> int:
    """Return the number of samples that k-means sees, if there are more.

    Raises
    ------
    ValueError
        If there would be fewer of them than components.
    """
    if init_size is None:
        return n_samples
    if isinstance(init_size, str):
        return max(_INIT_SIZE, _INIT_SIZE_PER_COMPONENT * n_components)
    if init_size < n_components:
        raise ValueError(
            "Expected init_size >= n_components but got "
            f"n_components = {n_components}, init_size = {init_size}"
        )
    return int(init_size)


def resolve_device(
    device: str | torch.device, X: Any, n_components: int, backend: str
) -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` is the device of a tensor; for other arrays CUDA if there is one
        and samples times components times features reach 1e8, else the CPU.
    X : array of shape (n_samples, n_features)
    n_components : int
    backend : str
        ``"native"`` knows the CPU only.

    Raises
    ------
    ValueError
        If the device is unknown or absent.
    """
    if device == "auto" and isinstance(X, Tensor):
        return X.device
    if device == "auto":
        n_numbers = X.shape[0] * X.shape[1] * n_components
        worth_it = backend != "native" and n_numbers >= _WORTH_A_TRANSFER
        return torch.device("cuda" if worth_it and torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in _DEVICES:
        raise ValueError(
            "The 'device' parameter must be 'auto', 'cpu', 'cuda' or 'cuda:<index>'. "
            f"Got {device!r} instead."
        )
    count = torch.cuda.device_count()
    if resolved.type == "cuda" and (resolved.index or 0) >= count:
        raise ValueError(
            f"device={device!r} was asked for, but torch {torch.__version__} finds "
            f"{count or 'no'} CUDA device{'s' * (count > 1)}. Use device='cpu' or "
            "'auto', or install a CUDA build of torch."
        )
    return resolved


def resolve_features(
    features: Any, n_features: int, names: np.ndarray | None
) -> list[int]:
    """Return the indices of `features`, in their order.

    Parameters
    ----------
    features : int, str, or array-like of them or of bool
        Indices, which may count from the end; names; or a mask.
    n_features : int
    names : ndarray of shape (n_features,) or None
        The feature names seen in fit.

    Raises
    ------
    TypeError
        If they are neither one feature nor some.
    ValueError
        If features are unknown, repeated or none.
    """
    single = isinstance(features, (str, int, np.integer))
    if not single and not isinstance(features, Iterable):
        raise TypeError(
            "'features' must be an index, a name, a sequence of these, or a mask; got "
            f"{features!r}. Of a slice, say, give the indices: list(range(0, 2))."
        )
    items = [features] if single else list(to_numpy(features))
    if (
        not single
        and items
        and all(isinstance(item, (bool, np.bool_)) for item in items)
    ):
        if len(items) != n_features:
            raise ValueError(
                f"A mask as 'features' needs {n_features} entries, one per feature; "
                f"got {len(items)}."
            )
        items = list(np.flatnonzero(items))
    known = [] if names is None else list(names)
    indices = [_index_of(item, n_features, known) for item in items]
    if not indices or len(set(indices)) < len(indices):
        raise ValueError(
            f"'features' must be one or more different features; got {features!r}."
        )
    return indices


def _index_of(feature: Any, n_features: int, names: list[str]) -> int:
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, str):
        seen = f"those seen in fit are {names}" if names else "fit has seen no names"
        raise ValueError(f"'features' has the unknown name {feature!r}: {seen}.")
    # True and False are integers to Python, but not indices.
    if not isinstance(feature, bool) and isinstance(feature, (int, np.integer)):
        index = int(feature)
        if -n_features <= index < n_features:
            return index % n_features
    raise ValueError(
        f"'features' takes names, or integers from {-n_features} to {n_features - 1}; "
        f"got {feature!r}."
    )


def check_positive(number: Any, name: str) -> None:
    """Raise an error unless a parameter is a finite number > 0; NaN is none.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is another one.
    """
    check_scalar(number, name, Real, min_val=0, include_boundaries="neither")
    if not math.isfinite(number):
        raise ValueError(f"{name} == {number!r}, must be finite.")


def check_values(
    values: Any, n_values: int, names: list[str] | None = None
) -> np.ndarray:
    """Return `values` as float64 of shape (n_values,), or raise ValueError.

    They are taken by their places: a series of pandas has to have these names, if it
    has some.
    """
    labels = list(values.index) if hasattr(values, "iloc") else []
    named = bool(labels) and all(isinstance(label, str) for label in labels)
    if names is not None and named and labels != names:
        raise ValueError(
            f"'values' are of {labels}, but 'features' are {names}. Give them in the "
            "same order."
        )
    array: np.ndarray = check_array(
        np.atleast_1d(to_numpy(values)),
        dtype=np.float64,
        ensure_2d=False,
        allow_nd=True,
        input_name="values",
    )
    if array.shape != (n_values,):
        raise ValueError(
            f"'values' must have the shape ({n_values},), a number for each of the "
            f"given features; got {array.shape}."
        )
    return array
