"""Tiles on Python threads: torch releases the GIL, and tiles need no barriers.

Products of matrices as small as a tile gain nothing from two OpenMP threads that
wait for each other at every operation; two tiles at once gain nearly a factor 2.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch

from sklearn_keops_gmm.backends._openmp import budget, hold_for_ever, single_thread

__all__ = ["chunks", "map_threads", "single_thread", "slices"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# More chunks than threads even out; their number, and so the order in which sums
# are rounded, does not depend on the machine.
MAX_CHUNKS = 16


def slices(n: int, at_most: int = MAX_CHUNKS) -> list[slice]:
    """Split `n` things into runs of nearly equal length, 16 of them or fewer."""
    count = max(1, min(MAX_CHUNKS, at_most, n))
    bounds = [n * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def chunks(items: Sequence[Item], at_most: int = MAX_CHUNKS) -> list[Sequence[Item]]:
    """Return those runs of `items`."""
    return [items[part] for part in slices(len(items), at_most)]


class _Callers:
    """Counts the threads of this process that call for tiles right now.

    Fits side by side, as those of a grid search on threads, would otherwise each
    take all cores.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child must: locks and threads are its parent's."""
        self._lock = threading.Lock()
        self._count = 0

    @contextmanager
    def one_more(self) -> Iterator[int]:
        """Count the caller in, and say how many there are."""
        with self._lock:
            self._count += 1
            count = self._count
        try:
            yield count
        finally:
            with self._lock:
                self._count -= 1


class _Helpers:
    """Threads that are kept: to start one takes as long as a tile."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child must: locks and threads are its parent's."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def submit(self, work: Callable[[], None], count: int) -> list[Future[None]]:
        """Let `count` threads do the `work` as soon as they are free."""
        with self._lock:
            if self._pool is None or self._size < count:
                if self._pool is not None:
                    self._pool.shutdown(wait=False)
                self._pool, self._size = _started(count), count
            return [self._pool.submit(work) for _ in range(count)]


def _started(count: int) -> ThreadPoolExecutor:
    """Return a pool whose threads are there and held to one thread of torch's.

    A thread that came later could change torch's number for others when the caller
    has given it back already.
    """
    pool = ThreadPoolExecutor(count, "tiles", initializer=hold_for_ever)
    together = threading.Barrier(count)
    for started in [pool.submit(together.wait) for _ in range(count)]:
        started.result()
    return pool


_callers = _Callers()
_helpers = _Helpers()
if hasattr(os, "register_at_fork"):
    # The threads of the parent do not exist in a forked child.
    os.register_at_fork(after_in_child=_callers.forget)
    os.register_at_fork(after_in_child=_helpers.forget)


def map_threads(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> list[Result]:
    """Apply `function` to each of `items`, in order of results.

    As many threads work as torch would use here, each on one core, and concurrent
    callers share them; on a GPU, and where torch is held to one thread, none but the
    caller's.
    """
    if len(items) == 1:
        # Too little for threads, and to count the caller takes as long as a few rows.
        with single_thread():
            return [function(items[0])]
    with _callers.one_more() as n_callers, single_thread():
        n_threads = min(max(1, budget() // n_callers), len(items))
        if device.type != "cpu" or n_threads == 1:
            return [function(item) for item in items]
        results: dict[int, Result] = {}
        left = iter(range(len(items)))

        def work() -> None:
            # Each number goes to one thread: an iterator's step is atomic.
            for i in left:
                results[i] = function(items[i])

        helpers = _helpers.submit(work, n_threads - 1)
        try:
            work()
        finally:
            # Those that found no thread free are not needed any more.
            busy = [helper for helper in helpers if not helper.cancel()]
            wait(busy)
        for helper in busy:
            helper.result()
        return [results[i] for i in range(len(items))]
