"""The tree in which components are merged into clusters, and where to cut it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

# Of the clusters of components, (M,) int64 numbered from 0 to K - 1: how alike each two
# of the K clusters are, (K, K). 1 or more is what cannot be told apart.
Linkage = Callable[[np.ndarray], np.ndarray]

# Less alike than this is not alike at all: of the rounding of probabilities.
_LEAST = 1e-9
# Clusters that are more alike than the first are one, than the second are no more alike
# for it, and that are less alike than the last are no less alike for it.
_ONE, _ALIKE, _APART = 0.15, 0.3, 0.008
# So small clusters, as shares of an equal one, count as no smaller.
_SMALL = 1e-3
# How much many clusters speak for a cut, and a small one against it.
_COUNT_POWER, _SMALL_POWER = 0.2, 0.5


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Mergers of M components, until one cluster is left.

    Attributes
    ----------
    children : ndarray of shape (M - 1, 2), int64
        What each step merges: components below M, else the result of step i - M.
    distances : ndarray of shape (M - 1,)
        Minus the logarithm of how alike these two are; never falling.
    """

    children: np.ndarray
    distances: np.ndarray

    @classmethod
    def of(cls, linkage: Linkage, n_components: int) -> MergeTree:
        """Return the tree in which the most alike two clusters are merged first."""
        labels = nodes = np.arange(n_components)
        children = np.empty((n_components - 1, 2), np.int64)
        alike = np.empty(n_components - 1)
        for step in range(n_components - 1):
            similarities = linkage(labels)
            pairs = np.triu_indices(len(nodes), 1)
            best = int(np.argmax(similarities[pairs]))
            a, b = pairs[0][best], pairs[1][best]
            alike[step] = similarities[a, b]
            children[step] = np.sort(nodes[[a, b]])
            nodes = np.delete(
                np.where(nodes == nodes[a], n_components + step, nodes), b
            )
            labels = np.where(labels == b, a, labels - (labels > b))
        distances = -np.log(np.clip(alike, _LEAST, 1.0)) + 0.0
        return cls(children, np.maximum.accumulate(distances))

    @property
    def n_components(self) -> int:
        """The number of components, M."""
        return len(self.children) + 1

    def labels(self, n_clusters: int) -> np.ndarray:
        """Return the cluster of each component, (M,) int64, in the order of components.

        Parameters
        ----------
        n_clusters : int
            From 1 to M.
        """
        n = self.n_components
        found = np.arange(2 * n - 1)
        for step in range(n - n_clusters):
            found[np.isin(found, self.children[step])] = n + step
        _, first, labels = np.unique(found[:n], return_index=True, return_inverse=True)
        order: np.ndarray = np.argsort(np.argsort(first))[labels]
        return order

    def n_clusters_at(self, distance: float) -> int:
        """Return the number of clusters that are at least so distant."""
        return int(np.count_nonzero(self.distances >= distance)) + 1


# Of a tree, and of the weights of the components, (M,): the number of clusters.
CutRule = Callable[[MergeTree, np.ndarray], int]


def largest_drop(tree: MergeTree, weights: np.ndarray) -> int:
    """Return the number of clusters where what is merged changes most.

    The tree is cut where mergers become least alike all at once, on a logarithmic
    scale, with a preference for more clusters, and for clusters none of which is small.
    If even the last two are alike, there is one cluster.
    """
    alike = np.exp(-tree.distances)
    if len(alike) == 0 or alike[-1] > _ONE:
        return 1
    levels = np.log(np.clip(np.append(_ALIKE, alike), _APART, _ALIKE))
    counts = tree.n_components - np.arange(len(alike))
    smallest = [np.bincount(tree.labels(int(k)), weights).min() * k for k in counts]
    drops = levels[:-1] - levels[1:]
    drops += _SMALL_POWER * np.log(np.clip(smallest, _SMALL, 1.0))
    return int(counts[np.argmax(drops + _COUNT_POWER * np.log(counts))])


def more_alike_than(least: float) -> CutRule:
    """Return the rule that clusters are merged that are more alike than a number."""
    return partial(_at_distance, -float(np.log(least)))


def _at_distance(distance: float, tree: MergeTree, weights: np.ndarray) -> int:
    return tree.n_clusters_at(distance)
