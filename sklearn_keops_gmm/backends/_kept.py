"""What backends make of components, kept as long as these are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch

from sklearn_keops_gmm._model import Components, Frame

Made = TypeVar("Made")
Make = Callable[[Components, Frame, torch.dtype], Made]


def kept_with_components(make: Make[Made]) -> Make[Made]:
    """Let a function of components, frame and dtype remember what it has made last.

    Components and frames are values: the same ones have the same result. Threads may
    make it at once, and then keep one of them.
    """
    made: WeakKeyDictionary[Components, tuple[Frame, torch.dtype, Made]]
    made = WeakKeyDictionary()

    @wraps(make)
    def kept(components: Components, frame: Frame, dtype: torch.dtype) -> Made:
        found = made.get(components)
        if found is None or found[0] is not frame or found[1] != dtype:
            found = frame, dtype, make(components, frame, dtype)
            made[components] = found
        return found[2]

    return kept
