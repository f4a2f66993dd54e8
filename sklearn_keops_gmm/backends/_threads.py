"""Tiles on Python threads: torch releases the GIL, and tiles need no barriers.

Products of matrices as small as a tile gain nothing from two OpenMP threads that
wait for each other at every operation; two tiles at once gain nearly a factor 2.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# More chunks than threads even out; their number, and so the order in which sums
# are rounded, does not depend on the machine.
MAX_CHUNKS = 16


def chunks(items: Sequence[Item], at_most: int = MAX_CHUNKS) -> list[Sequence[Item]]:
    """Split `items` into runs of nearly equal length, 16 of them or fewer."""
    count = max(1, min(MAX_CHUNKS, at_most, len(items)))
    bounds = [len(items) * i // count for i in range(count + 1)]
    return [items[a:b] for a, b in pairwise(bounds)]


_held = threading.local()


def _budget() -> int:
    """Return the number of threads that torch has here, or had before it was held."""
    return getattr(_held, "budget", None) or torch.get_num_threads()


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold torch's own threads to one in the calling thread; tiles keep theirs.

    Small products and factorisations gain nothing from a second thread, and lose
    milliseconds at each where other processes keep the cores busy.
    """
    budget = torch.get_num_threads()
    if budget == 1:
        yield
        return
    _held.budget = budget
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(budget)
        _held.budget = None


def map_threads(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> list[Result]:
    """Apply `function` to each of `items`, in order of results.

    As many threads work as torch would use here, each on one core; on a GPU, and
    where torch is held to one thread, none but the caller's.
    """
    n_threads = min(_budget(), len(items))
    # torch keeps one number for threads to come, too: it is given back.
    with single_thread():
        if device.type != "cpu" or n_threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(function, items))
