"""Rows grouped by which of their features are observed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# So many features are bits of one number at once.
_BITS = 30


@dataclass(frozen=True)
class PatternTile:
    """Some rows of some patterns, as many of each.

    Attributes
    ----------
    observed : Tensor of shape (P, D), bool
    rows : Tensor of shape (P, n), int64
    counts : Tensor of shape (P, n), bool
        Which of the rows are meant: patterns with fewer have one of theirs repeated.
    """

    observed: Tensor
    rows: Tensor
    counts: Tensor


class Patterns:
    """The patterns of missing features among the rows of an array.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        NaN where a feature is missing.

    Attributes
    ----------
    order : Tensor of shape (N,), int64
        The rows, pattern by pattern.
    observed : Tensor of shape (P, D), bool
    sizes : Tensor of shape (P,), int64
        How many rows each has; on the CPU.
    """

    def __init__(self, points: Tensor) -> None:
        seen = ~points.isnan()
        numbers = _numbered(seen)
        self.order = numbers.argsort(stable=True)
        self.sizes = numbers.bincount().cpu()
        ends = self.sizes.cumsum(0)
        self._starts = ends - self.sizes
        self.observed = seen[self.order[self._starts.to(seen.device)]]

    @cached_property
    def _by_size(self) -> list[tuple[int, Tensor]]:
        """Patterns whose numbers of rows have the same length as binary numbers."""
        lengths = torch.frexp(self.sizes.double()).exponent
        groups = ((lengths == length).nonzero()[:, 0] for length in lengths.unique())
        return [(int(self.sizes[group].max()), group) for group in groups]

    def tiles(self, per_row: int, per_pattern: int, most: int) -> Iterator[PatternTile]:
        """Yield tiles that hold all rows.

        Parameters
        ----------
        per_row, per_pattern : int
            How many numbers there are to hold for each.
        most : int
            No tile has more, but for one pattern, and one row of it.
        """
        for size, group in self._by_size:
            n = max(1, min(size, (most - per_pattern) // per_row))
            n_patterns = max(1, most // (n * per_row + per_pattern))
            for some in group.split(n_patterns):
                for start in range(0, size, n):
                    yield self._tile(some, start, min(start + n, size))

    def _tile(self, patterns: Tensor, start: int, end: int) -> PatternTile:
        device = self.order.device
        places = torch.arange(start, end)
        sizes = self.sizes[patterns, None]
        counts = places < sizes
        places = self._starts[patterns, None] + places.minimum(sizes - 1)
        return PatternTile(
            self.observed[patterns.to(device)],
            self.order[places.to(device)],
            counts.to(device),
        )


def _numbered(seen: Tensor) -> Tensor:
    """Return the numbers, from 0, of the patterns of rows, (N,)."""
    numbers = torch.zeros(len(seen), dtype=torch.int64, device=seen.device)
    for some in seen.split(_BITS, dim=1):
        bits = 2 ** torch.arange(some.shape[1], device=seen.device)
        numbers = (numbers << _BITS) + (some * bits).sum(1)
        _, numbers = numbers.unique(return_inverse=True)
    return numbers
