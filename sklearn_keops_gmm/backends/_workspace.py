"""Memory: what tiles use again and again, and the error where there is none left.

To ask for it anew costs as much as a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from sklearn import get_config
from torch import Tensor

Made = TypeVar("Made")

_MOST_BYTES = 2**28


def memory_budget() -> int:
    """Return how many bytes tiles, or sums, or what is kept of the points may take."""
    return min(_MOST_BYTES, int(get_config()["working_memory"] * 2**20))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise Python's MemoryError where torch finds no memory, a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        # On a GPU it has a class, and else words: those of POSIX, and of Windows.
        words = ("allocate memory", "not enough memory")
        on_a_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if not on_a_gpu and not any(some in str(error) for some in words):
            raise
        raise MemoryError(
            f"{str(error).splitlines()[0]} Fewer components, a covariance_type of "
            "fewer numbers, or samples in float32 take less memory."
        ) from error


class Workspace:
    """Arrays for one tile at a time, of the dtype and on the device of `like`."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._memory: dict[str, Tensor] = {}
        self._views: dict[tuple[str, int, int], dict[Any, Any]] = {}

    def array(self, name: str, height: int, n: int) -> Tensor:
        """Return the array of that name, (height, n), with whatever is in it."""
        array: Tensor = self._of(name, height, n)[None]
        return array

    def made(
        self, key: Hashable, make: Callable[[Tensor], Made], name: str, *shape: int
    ) -> Made:
        """Return what `make` makes of an array: once for each `key` and shape."""
        found = self._of(name, *shape)
        if key not in found:
            found[key] = make(found[None])
        made: Made = found[key]
        return made

    def _of(self, name: str, height: int, n: int) -> dict[Any, Any]:
        """Return an array, under None, with what was made of it."""
        found = self._views.get((name, height, n))
        if found is not None:
            return found
        size = height * n
        memory = self._memory.get(name)
        if memory is None or len(memory) < size:
            memory = self._memory[name] = self._like.new_empty(size)
            self._views = {
                key: self._views[key] for key in self._views if key[0] != name
            }
        found = {None: memory[:size].view(height, n)}
        self._views[name, height, n] = found
        return found


class Workspaces:
    """As many workspaces as threads ask for at a time."""

    def __init__(self, like: Tensor) -> None:
        self._like = like.new_empty(0)
        self._free: list[Workspace] = []

    @contextmanager
    def one(self) -> Iterator[Workspace]:
        """Lend a workspace."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace(self._like)
        try:
            yield workspace
        finally:
            self._free.append(workspace)
