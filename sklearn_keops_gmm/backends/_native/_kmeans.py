"""k-means by the compiled module: Lloyd's algorithm with bounds, after k-means++."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import iadd
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from sklearn_keops_gmm.backends._native._blocks import BLOCK, Blocks, in_blocks
from sklearn_keops_gmm.backends._native._modules import native_module
from sklearn_keops_gmm.backends._threads import map_threads, slices
from sklearn_keops_gmm.backends._warnings import warn_user
from sklearn_keops_gmm.backends._workspace import memory_budget

_CPU = torch.device("cpu")
# As many iterations as scikit-learn's KMeans takes.
_MAX_ITER = 300
# Pairs for which it is worth to wake a thread: bounds leave few of them to compute.
_GRAIN = 2**22
# Rows whose nearest centres are sought at a time, for the memory of their blocks.
_ROWS = 2**17


@dataclass(frozen=True)
class NativeKMeans:
    """Clusters that were found, with the names of scikit-learn's `KMeans`.

    Attributes
    ----------
    labels_ : ndarray of shape (N,), int64
    cluster_centers_ : ndarray of shape (K, D), float64
    n_iter_ : int
    """

    labels_: np.ndarray
    cluster_centers_: np.ndarray
    n_iter_: int
    _frame: tuple[np.ndarray, float]

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Return which centre is nearest to each of other points, (N,), int64."""
        centre, unit = self._frame
        centres = (self.cluster_centers_ - centre) / unit
        labels = np.empty(len(points), np.int64)
        for start in range(0, len(points), _ROWS):
            part = slice(start, start + _ROWS)
            blocks = in_blocks(points[part], centre, unit)
            assignment = _Assignment(blocks, None, centres.astype(points.dtype))
            assignment.step(None)
            labels[part] = blocks.scattered(assignment.labels)
        return labels


def native_kmeans(
    points: np.ndarray,
    n_clusters: int,
    sample_weight: np.ndarray | None,
    tol: float,
    random_state: RandomState,
) -> NativeKMeans:
    """Cluster as scikit-learn's `KMeans` does with ``n_init=1``.

    It draws the same numbers, and stops by the same rule. Sums are taken in double
    precision, whatever the dtype.

    Parameters
    ----------
    points : ndarray of shape (N, D), float32 or float64
    n_clusters : int
    sample_weight : ndarray of shape (N,) or None
    tol : float
        Relative to the mean variance of the features.
    random_state : RandomState

    Warns
    -----
    ConvergenceWarning
        If fewer clusters are found than asked for.
    """
    blocks = in_blocks(points)
    weights = _weights_of(blocks, sample_weight)
    seeds = points[_seeds(blocks, n_clusters, weights, random_state)]
    centres = ((seeds - blocks.centre) / blocks.unit).astype(points.dtype)
    assignment = _Assignment(blocks, weights, centres)
    n_iter = assignment.run(tol * blocks.variance)
    labels = blocks.scattered(assignment.labels)
    n_found = len(np.unique(labels))
    if n_found < n_clusters:
        warn_user(
            f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
            f"({n_clusters}). Possibly due to duplicate points in X.",
            ConvergenceWarning,
        )
    centres = blocks.centre + blocks.unit * assignment.centres.astype(np.float64)
    return NativeKMeans(labels, centres, n_iter, (blocks.centre, blocks.unit))


def native_kmeans_plusplus(
    points: np.ndarray,
    n_clusters: int,
    sample_weight: np.ndarray | None,
    random_state: RandomState,
) -> np.ndarray:
    """Return the rows, (K,), that scikit-learn's `kmeans_plusplus` chooses.

    In float32 they are those of the same numbers in float64.
    """
    blocks = in_blocks(points)
    weights = _weights_of(blocks, sample_weight)
    return _seeds(blocks, n_clusters, weights, random_state)


def _weights_of(blocks: Blocks, sample_weight: np.ndarray | None) -> np.ndarray:
    if sample_weight is None:
        return np.ones(blocks.n_samples)
    return np.ascontiguousarray(sample_weight, np.float64)


def _seeds(
    blocks: Blocks, n_clusters: int, weights: np.ndarray, random_state: RandomState
) -> np.ndarray:
    """Draw as scikit-learn does: the first one, and some trials for each other one."""
    n_trials = 2 + int(np.log(n_clusters))
    shares = weights / weights.sum()
    seeds = np.empty(n_clusters, np.int64)
    seeds[0] = random_state.choice(blocks.n_samples, p=shares)
    uniform = random_state.uniform(size=(n_clusters - 1, n_trials))
    module: Any = native_module()
    module.seeds(
        blocks.columns.shape[1], blocks.columns, blocks.order, weights, uniform, seeds
    )
    return seeds


class _Assignment:
    """Samples and the centres that they are nearest to.

    Parameters
    ----------
    blocks : Blocks
    weights : ndarray of shape (N,), or None
        Of the samples, in order of rows. None: centres stay where they are.
    centres : ndarray of shape (K, D)
    """

    def __init__(
        self, blocks: Blocks, weights: np.ndarray | None, centres: np.ndarray
    ) -> None:
        self._blocks = blocks
        self._weights = None
        if weights is not None:
            self._weights = weights[blocks.order]
            self._weights[blocks.n_samples :] = 0.0
        self.centres = centres
        self.labels = np.full(len(blocks.order), -1)
        n_blocks, n_clusters = len(blocks.columns), len(centres)
        self._margins = None
        if weights is not None and 4 * n_blocks * n_clusters <= memory_budget():
            self._margins = torch.empty(n_blocks, n_clusters).numpy()

    def run(self, tol: float) -> int:
        """Move centres until they rest; return the number of iterations."""
        moved = None
        for iteration in range(1, _MAX_ITER + 1):
            sums, changed = self.step(moved)
            centres = self._means(sums).astype(self.centres.dtype)
            difference = centres.astype(np.float64) - self.centres
            moved = np.sqrt((difference**2).sum(axis=1))
            self.centres = centres
            if not changed:
                return iteration
            if float(moved @ moved) <= tol:
                break
        self.step(moved)
        return iteration

    def step(self, moved: np.ndarray | None) -> tuple[np.ndarray, bool]:
        """Find the nearest centres, which have moved so far.

        Return sums of the samples of each, and of their weights, (K, D + 1), and
        whether a label has changed.
        """
        n_clusters, n_features = self.centres.shape
        columns, margins, weights = self._blocks.columns, self._margins, self._weights
        labels = self.labels.reshape(-1, BLOCK)
        moved = None if margins is None else moved
        module: Any = native_module()

        def assign(part: slice) -> tuple[np.ndarray, bool]:
            sums = np.zeros((n_clusters, n_features + 1))
            changed = module.assign(
                n_clusters,
                columns[part],
                None if weights is None else weights.reshape(-1, BLOCK)[part],
                self.centres,
                moved,
                labels[part],
                None if margins is None else margins[part],
                sums,
            )
            return sums, changed

        n_blocks = len(columns)
        at_most = n_blocks * BLOCK * n_clusters // _GRAIN
        parts = map_threads(assign, slices(n_blocks, at_most), _CPU)
        sums = reduce(iadd, (sums for sums, _ in parts))
        return sums, any(changed for _, changed in parts)

    def _means(self, sums: np.ndarray) -> np.ndarray:
        """Return the centres of clusters; of those without samples as in scikit-learn.

        They move to the samples that are the farthest from their centres.
        """
        empty = np.flatnonzero(sums[:, -1] == 0.0)
        if len(empty):
            self._relocate(sums, empty)
        mass = sums[:, -1:]
        means = sums[:, :-1] / np.where(mass > 0.0, mass, 1.0)
        return np.where(mass > 0.0, means, means[mass.argmax()])

    def _relocate(self, sums: np.ndarray, empty: np.ndarray) -> None:
        blocks = self._blocks
        assert self._weights is not None
        rows, labels = blocks.rows(), blocks.scattered(self.labels)
        weights = np.empty(blocks.n_samples)
        weights[blocks.order[: blocks.n_samples]] = self._weights[: blocks.n_samples]
        distances = ((rows - self.centres[labels]) ** 2).sum(axis=1)
        if not distances.any():
            return
        farthest = np.argpartition(distances, -len(empty))[: -len(empty) - 1 : -1]
        for cluster, row in zip(empty, farthest, strict=True):
            share = weights[row] * np.append(rows[row], 1.0)
            sums[labels[row]] -= share
            sums[cluster] = share
