"""The tree in which components are merged into clusters, and where to cut it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_keops_gmm._model._linkage import Linkage

# Less alike than this is not alike at all: of the rounding of probabilities.
_LEAST = 1e-9
# Of the rule that finds the number of clusters.
_FLOOR, _ONE, _COUNT_POWER = 0.002, 0.1, 0.3


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

    def n_clusters(self) -> int:
        """Return the number of clusters where what is merged changes most.

        The tree is cut where mergers become least alike all at once, on a logarithmic
        scale, with a preference for more clusters. If even the last two are alike,
        there is one cluster.
        """
        alike = np.exp(-self.distances)
        if len(alike) == 0 or alike[-1] > _ONE:
            return 1
        levels = np.log(np.clip(np.append(1.0, alike), _FLOOR, 1.0))
        counts = self.n_components - np.arange(len(alike))
        drops = levels[:-1] - levels[1:] + _COUNT_POWER * np.log(counts)
        return int(counts[np.argmax(drops)])
