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
# Clusters that are more alike than the first are no more alike for it, and that are
# less alike than the second are no less alike for it. Links, likewise.
_ALIKE, _APART = 0.6, 0.03
_LINKED, _LOOSE = 0.05, 0.0005
# How much links speak for a cut, and a small cluster against it.
_LINK_POWER, _SMALL_POWER = 0.3, 0.3
# So small clusters, as shares of an equal one, count as no smaller.
_SMALL = 1e-3
# How much it speaks against a cut that two draws of a sample's cluster differ, and at
# most: twenty that do so for a quarter of samples may be one, which 1.6 decides.
_UNSURE_POWER, _MOST_UNSURE = 25.0, 2.0
# One cluster has no cut: how much its weakest link speaks for it, beyond this.
_ONE_POWER, _ONE_LINK = 1.5, 0.035
# Two components that hang together may be two clusters that overlap; but many are the
# parts of one. How much that speaks against a cluster for each, per so many more.
_PARTS, _PARTS_POWER = 3, 3


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


# Of a tree, and of the confusions of components, (M, M): the number of clusters.
CutRule = Callable[[MergeTree, np.ndarray], int]


def widest_gap(tree: MergeTree, confusions: np.ndarray) -> int:
    """Return the number of clusters that hang together, and are apart, the most.

    The tree is cut where mergers become least alike all at once, on a logarithmic
    scale, where links within clusters are stronger than those between them, and rather
    where no cluster is small and most samples are clearly of one. One cluster stands by
    its weakest link alone: mergers of the last few are the less alike the larger they
    are, also where nothing is between. The more components it holds, the more it speaks
    against a cluster for each: in many dimensions the parts of one cluster are each
    confused a little with all others.

    Parameters
    ----------
    tree : MergeTree
    confusions : ndarray of shape (M, M)
        How often two draws from the posterior of a sample are two components.
    """
    shares = confusions.sum(axis=0)
    links = _links(confusions, shares)
    counts = np.arange(tree.n_components, 1, -1)
    levels = _log_within(np.append(1.0, np.exp(-tree.distances)), _APART, _ALIKE)
    scores = levels[:-1] - levels[1:]
    held: dict[bytes, float] = {}
    for i, count in enumerate(counts):
        labels = tree.labels(int(count))
        within = min(_weakest_link(links, labels == k, held) for k in range(count))
        between = np.where(labels[:, None] == labels, 0.0, links).max()
        gap = np.subtract(*_log_within(np.array([within, between]), _LOOSE, _LINKED))
        smallest = count * np.bincount(labels, shares).min()
        scores[i] += _LINK_POWER * gap
        scores[i] += _SMALL_POWER * float(_log_within(smallest, _SMALL, 1.0))
        agreement = confusions[labels[:, None] == labels].sum() / shares.sum()
        scores[i] -= min(_UNSURE_POWER * np.log(agreement) ** 2, _MOST_UNSURE)
    weakest = _weakest_link(links, np.ones(tree.n_components, bool), held)
    one = _ONE_POWER * (np.log(max(weakest, _LOOSE)) - np.log(_ONE_LINK))
    scores[:1] -= max(one, 0.0) * min((tree.n_components - 2) / _PARTS, _PARTS_POWER)
    return int(np.append(counts, 1)[np.argmax(np.append(scores, one))])


def _links(confusions: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return how much of the smaller of two components is confused with the larger."""
    smaller = np.minimum.outer(shares, shares)
    whole = np.ones_like(confusions)
    return np.divide(confusions, smaller, out=whole, where=smaller > 0)


def _weakest_link(
    links: np.ndarray, members: np.ndarray, held: dict[bytes, float]
) -> float:
    """Return the weakest of the strongest links that hold some components together.

    That is the least edge of the largest spanning tree (Prim's algorithm), 1 for a
    component alone. `held` are those that are known.
    """
    key = members.tobytes()
    if key not in held:
        among = links[np.ix_(members, members)]
        strongest, weakest = among[0], 1.0  # links to what is inside
        inside = np.arange(len(among)) == 0
        for _ in range(1, len(among)):
            new = int(np.argmax(np.where(inside, -1.0, strongest)))
            weakest = min(weakest, float(strongest[new]))
            inside[new] = True
            strongest = np.maximum(strongest, among[new])
        held[key] = weakest
    return held[key]


def _log_within(values: np.ndarray | float, least: float, most: float) -> np.ndarray:
    found: np.ndarray = np.log(np.clip(values, least, most))
    return found


def more_alike_than(least: float) -> CutRule:
    """Return the rule that clusters are merged that are more alike than a number."""
    return partial(_at_distance, -float(np.log(least)))


def _at_distance(distance: float, tree: MergeTree, confusions: np.ndarray) -> int:
    return tree.n_clusters_at(distance)
