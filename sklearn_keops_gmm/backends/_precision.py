"""Digits: how many answers may lack, and how products of float32 keep theirs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Rounding error of a log-density that the expanded form may leave, per dtype.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}


def limit_of_products(dtype: torch.dtype) -> float:
    """Return how large a coordinate may be for the rounding error of its square."""
    return math.sqrt(TOLERANCES[dtype] / torch.finfo(dtype).eps)


# Older torch has one switch, and only for CUDA.
_NAME, _EXACT = (
    ("fp32_precision", "ieee")
    if hasattr(torch.backends.cuda.matmul, "fp32_precision")
    else ("allow_tf32", False)
)
# What holds torch's choices of how to multiply, on each device.
_SWITCHES = [
    owner.matmul
    for owner in (torch.backends.cuda, torch.backends.mkldnn)
    if hasattr(getattr(owner, "matmul", None), _NAME)
]


class _Holders:
    """Counts who needs exact products; the choices are the process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._found: list[Any] = []

    def enter(self) -> None:
        """Ask for exact products."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._found = [getattr(switch, _NAME) for switch in _SWITCHES]
                for switch in _SWITCHES:
                    setattr(switch, _NAME, _EXACT)

    def leave(self) -> None:
        """No longer ask for them."""
        with self._lock:
            self._count -= 1
            if self._count == 0:
                for switch, found in zip(_SWITCHES, self._found, strict=True):
                    setattr(switch, _NAME, found)


_holders = _Holders()


@contextmanager
def exact_products() -> Iterator[None]:
    """Keep torch from rounding the factors of products, whatever its settings.

    ``torch.set_float32_matmul_precision("high")`` lets it keep ten bits of them, which
    are too few for log-densities.
    """
    _holders.enter()
    try:
        yield
    finally:
        _holders.leave()
