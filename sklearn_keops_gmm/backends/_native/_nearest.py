"""The nearest of very many means, by a search in two levels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sklearn_keops_gmm.backends._native._modules import native_module
from sklearn_keops_gmm.backends._threads import map_threads, slices

# How often groups of means are centred anew; how many groups are searched at least, and
# how many times as many means they have as are sought.
_ROUNDS, _PROBES, _SPARE = 5, 4, 2
# Points for which it is worth to wake a thread.
_ROWS = 2**12


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
        counts = labels.bincount()
        self._bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
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
        pieces = slices(len(points), -(-len(points) // _ROWS))
        found = map_threads(
            lambda rows: self._find(points[rows] - self._origin, count),
            pieces,
            points.device,
        )
        distances, indices = zip(*found, strict=True)
        return torch.cat(distances), torch.cat(indices)

    def _find(self, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
        n_groups = len(self._centres)
        n_probes = min(n_groups, _PROBES + _SPARE * count // n_groups)
        distances = points.new_empty(len(points), count)
        indices = torch.empty(len(points), count, dtype=torch.int64)
        given = (points, self._centres, self._means, self._bounds)
        module: Any = native_module()
        module.nearest(
            points.shape[1],
            *[array.contiguous().numpy() for array in given],
            n_probes,
            distances.numpy(),
            indices.numpy(),
        )
        return distances, self.order[indices]


def _distances(points: Tensor, means: Tensor) -> Tensor:
    """Return squared distances, (N, M), less the squares of the points."""
    return torch.addmm((means * means).sum(1), points, means.mT, alpha=-2.0)
