"""The nearest of very many means, by a search in two levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sklearn_keops_gmm.backends._threads import map_threads, slices

# How often groups of means are centred anew; how many groups are searched at least, and
# how many times as many means they have as are sought.
_ROUNDS, _PROBES, _SPARE = 5, 4, 2
# Rows that are searched for at a time.
_ROWS = 2**15


class NearestMeans:
    """Finds means that are near points, as a rule the nearest ones.

    The means are in groups, about the square root of their number, by k-means; for each
    point those in the nearest groups are compared.

    Parameters
    ----------
    means : Tensor of shape (M, D), float32 will do
        In coordinates in which distances matter.

    Attributes
    ----------
    order : Tensor of shape (M,), int64
        The means, group by group.
    """

    def __init__(self, means: Tensor) -> None:
        n_groups = max(1, math.isqrt(len(means)))
        self._origin = means.mean(0)
        means = means - self._origin
        chosen = torch.arange(n_groups) * len(means) // n_groups
        self._centres = means[chosen]
        for _ in range(_ROUNDS):
            labels = _distances(means, self._centres).argmin(1)
            counts = labels.bincount(minlength=n_groups)
            sums = torch.zeros_like(self._centres).index_add_(0, labels, means)
            centred = sums / counts.clamp_min(1)[:, None]
            self._centres = torch.where(counts[:, None] > 0, centred, self._centres)
        labels = _distances(means, self._centres).argmin(1)
        # Where means coincide groups are empty, and it is of no use to search them.
        used, labels = labels.unique(return_inverse=True)
        self._centres = self._centres[used]
        self.order = labels.argsort(stable=True)
        self._bounds = _bounds(labels, len(used))
        self._largest = int(labels.bincount().max())
        self._means = means[self.order]

    def find(self, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the squared distances of near means and which they are.

        Parameters
        ----------
        points : Tensor of shape (N, D)
        count : int
            How many to find for each.

        Returns
        -------
        distances : Tensor of shape (N, count)
        indices : Tensor of shape (N, count), int64
            The nearest first; the same again where groups have too few.
        """
        n_pieces = -(-len(points) // _ROWS)
        pieces = [
            slice(part.start + start, min(part.start + start + _ROWS, part.stop))
            for part in slices(len(points), max(1, n_pieces))
            for start in range(0, part.stop - part.start, _ROWS)
        ]
        found = map_threads(
            lambda rows: self._find(points[rows] - self._origin, count),
            pieces,
            points.device,
        )
        distances, indices = zip(*found, strict=True)
        return torch.cat(distances), torch.cat(indices)

    def _find(self, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
        n_groups, size = len(self._centres), self._largest
        n_probes = min(n_groups, _PROBES + _SPARE * count // n_groups)
        probed = _distances(points, self._centres).topk(n_probes, largest=False).indices
        pairs = probed.flatten()
        order, bounds = pairs.argsort(), _bounds(pairs, n_groups)
        # Of one mean the nearest of each group will do; of more all are kept.
        kept = 1 if count == 1 else size
        distances = points.new_full((len(pairs), kept), torch.inf)
        places = pairs.new_zeros(len(pairs), 1)
        for g in range(n_groups):
            first, last = self._bounds[g], self._bounds[g + 1]
            which = order[bounds[g] : bounds[g + 1]]
            if len(which) == 0:
                continue
            near = _distances(points[which // n_probes], self._means[first:last])
            if count == 1:
                distances[which], places[which] = near.min(1, keepdim=True)
            else:
                distances[which, : last - first] = near
        starts = torch.tensor(self._bounds)[probed]
        distances, columns = distances.view(len(points), -1).topk(count, largest=False)
        offsets = columns % kept + places.view(len(points), -1).gather(
            1, columns // kept
        )
        found = starts.gather(1, columns // kept) + offsets
        # Squares of numbers beyond all others overflow, also those of the nearest.
        nearest = torch.where(distances.isinf(), starts[:, :1], found)[:, :1]
        found = torch.where(distances.isinf(), nearest, found)
        squares = (points * points).sum(1, keepdim=True)
        return (distances + squares).clamp_min(0.0), self.order[found]


def _distances(points: Tensor, means: Tensor) -> Tensor:
    """Return squared distances, (N, M), less the squares of the points."""
    return torch.addmm((means * means).sum(1), points, means.mT, alpha=-2.0)


def _bounds(labels: Tensor, n_groups: int) -> list[int]:
    """Return where each group begins among sorted labels, and the last one ends."""
    counts = labels.bincount(minlength=n_groups)
    return [0, *counts.cumsum(0).tolist()]
