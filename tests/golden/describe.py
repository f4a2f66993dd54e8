"""Hashes of whatever a fit leaves behind and a mixture answers."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

# Hexadecimal digits: 32 bits, as a difference need not be proved but found.
DIGITS = 8
# Parameters that are newer than the file: at their defaults they say nothing.
LATER = {"frozen": None, "noise": None, "noise_volume": None, "truncation": None}
# What a fit keeps of such parameters, which are hashed themselves.
KEPT = {"_settings"}


def parts(value: Any) -> Iterator[bytes]:
    """Yield bytes that differ if a value does in its type, its shape or any bit.

    Classes are called by their names alone, wherever they live.
    """
    yield type(value).__name__.encode()
    if isinstance(value, torch.Tensor):
        yield str(value.device).encode()
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, np.ndarray):
        yield from parts(value.tolist())
    elif isinstance(value, BaseEstimator):
        yield from parts(given(value) | fitted(value))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from (str(key).encode(), *parts(value[key]))
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for item in value:
            yield from parts(item)
    elif callable(value):
        yield value.__name__.encode()
    else:
        # That of a float is exact.
        assert value is None or isinstance(value, (bool, int, float, str)), value
        yield repr(value).encode()


def hash_of(value: Any) -> str:
    """Return the first digits of the SHA-256 of a value."""
    hashed = hashlib.sha256()
    for part in parts(value):
        hashed.update(b"%d:" % len(part) + part)
    return hashed.hexdigest()[:DIGITS]


def given(model: Any) -> dict[str, Any]:
    """Return the parameters of an estimator, but for new ones at their defaults."""
    return {
        name: value
        for name, value in model.get_params().items()
        if name not in LATER or value != LATER[name]
    }


def fitted(model: Any) -> dict[str, Any]:
    """Return all that a fit has set, also what is private: it is saved, too."""
    apart = {*model.get_params(), *KEPT}
    return {name: value for name, value in vars(model).items() if name not in apart}
