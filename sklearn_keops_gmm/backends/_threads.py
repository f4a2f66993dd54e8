"""Tiles on Python threads: torch releases the GIL, and tiles need no barriers.

Products of matrices as small as a tile gain nothing from two OpenMP threads that
wait for each other at every operation; two tiles at once gain nearly a factor 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# More chunks than threads even out; their number, and so the order in which sums
# are rounded, does not depend on the machine.
_CHUNKS = 16


def chunks(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Split `items` into at most 16 runs of nearly equal length."""
    count = min(_CHUNKS, len(items))
    bounds = [len(items) * i // count for i in range(count + 1)]
    return [items[a:b] for a, b in pairwise(bounds)]


def map_threads(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> list[Result]:
    """Apply `function` to each of `items`, in order of results.

    As many threads work as torch would use here, each on one core; on a GPU, and
    where torch is held to one thread, none but the caller's.
    """
    n_threads = min(torch.get_num_threads(), len(items))
    if device.type != "cpu" or n_threads == 1:
        return [function(item) for item in items]
    budget = torch.get_num_threads()
    with ThreadPoolExecutor(
        n_threads, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            return list(pool.map(function, items))
        finally:
            # torch keeps one number for threads to come: give it back.
            torch.set_num_threads(budget)
