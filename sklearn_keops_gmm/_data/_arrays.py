"""Arrays of users in, arrays of the same kind out.

Without array API dispatch everything comes out as numpy. With
``sklearn.config_context(array_api_dispatch=True)`` results are in the namespace and
on the device of the data, and so are the fitted attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils import _array_api
from sklearn.utils._array_api import get_namespace_and_device
from torch import Tensor


def _to_numpy_only(array: Any, *, xp: Any, device: Any) -> np.ndarray:
    return np.asarray(array)


def _unchecked(*_: Any, **__: Any) -> None:
    """Let pass; without tensors in its mixtures there is nothing to mix up."""


# scikit-learn has these since its own mixtures take tensors.
move_to: Callable[..., Any] = getattr(_array_api, "move_to", _to_numpy_only)
check_same_namespace: Callable[..., None] = getattr(
    _array_api, "check_same_namespace", _unchecked
)
TAKES_TENSORS = hasattr(_array_api, "check_same_namespace")


@dataclass(frozen=True)
class ArrayKind:
    """A namespace and a device: what kind of arrays a user works with."""

    xp: Any
    device: Any

    @classmethod
    def of(cls, *arrays: Any) -> ArrayKind:
        """Return the kind of `arrays`, which is numpy without dispatch."""
        xp, _, device = get_namespace_and_device(*arrays)
        return cls(xp, device)

    @property
    def float_dtypes(self) -> list[Any]:
        """The dtypes that are computed with; the first is the default."""
        return [self.xp.float64, self.xp.float32]

    @property
    def is_numpy(self) -> bool:
        """Whether arrays of this kind are numpy's own."""
        return getattr(self.xp, "ndarray", None) is np.ndarray

    def wrap(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Any:
        """Return `tensor` as an array of this kind."""
        tensor = tensor if dtype is None else tensor.to(dtype)
        if self.xp.__name__.endswith("torch"):
            return tensor.detach().to(self.device)
        array = tensor.detach().cpu().numpy()
        if self.is_numpy:
            return array
        return move_to(array, xp=self.xp, device=self.device)


def to_numpy(array: Any) -> Any:
    """Return tensors, and other arrays that have a device, as numpy arrays."""
    if isinstance(array, Tensor):
        return array.detach().cpu().numpy()
    if hasattr(array, "__array_namespace__") and not isinstance(array, np.ndarray):
        return move_to(array, xp=np, device="cpu")
    return array


def plain_tensor(array: Any) -> Any:
    """Return a tensor as one that numpy and scikit-learn can read: of values alone.

    Without a gradient, and bfloat16 as float32. What is no tensor stays as it is.
    """
    if not isinstance(array, Tensor):
        return array
    array = array.detach()
    return array.float() if array.dtype == torch.bfloat16 else array


def to_tensor(array: Any, device: torch.device) -> Tensor:
    """Return a contiguous tensor on `device`, on the same memory if it is there.

    It is only read: a read-only array is lent without torch's warning, and so is one
    with a negative stride along an axis of length 1, which torch would refuse.
    """
    if isinstance(array, Tensor):
        return array.detach().to(device).contiguous()
    lent = _Borrowed(np.ascontiguousarray(to_numpy(array)))
    return torch.from_numpy(np.asarray(lent)).to(device)


class _Borrowed:
    """Lends the memory of a contiguous array, whatever its writeable flag."""

    def __init__(self, array: np.ndarray) -> None:
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (address, False),
            "strides": None,
        }
        self._owner = array
