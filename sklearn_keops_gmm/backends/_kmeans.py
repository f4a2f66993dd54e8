"""k-means and k-means++: scikit-learn's where there are few pairs, else native ones.

Of few samples and centres scikit-learn's take little time, and with the same seed fits
have the very digits of its mixtures. The native ones draw the same numbers and find the
same clusters, but for the rounding of sums, and of samples as near to two centres.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.random import RandomState
from sklearn.cluster import KMeans, kmeans_plusplus

from sklearn_keops_gmm.backends._native import (
    native_is_available,
    native_kmeans,
    native_kmeans_plusplus,
)
from sklearn_keops_gmm.backends._openmp import openmp_of_others

# Samples times centres from which on the native ones take less time.
NATIVE_FROM = 200_000


class Clusters(Protocol):
    """What k-means has found."""

    @property
    def labels_(self) -> np.ndarray:
        """The clusters of the points, (N,)."""

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Return those of other points, (N,)."""


class OneCluster:
    """All points as a cluster, which takes no algorithm."""

    def __init__(self, points: np.ndarray, random_state: RandomState) -> None:
        # Other users of the stream go on from where scikit-learn's would leave it.
        random_state.random_sample()
        self.labels_ = self.predict(points)

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Return zeros, (N,)."""
        return np.zeros(len(points), np.int32)


def _is_native(points: np.ndarray, n_clusters: int) -> bool:
    return len(points) * n_clusters >= NATIVE_FROM and native_is_available()


def find_clusters(
    points: np.ndarray,
    n_clusters: int,
    sample_weight: np.ndarray | None,
    tol: float,
    random_state: RandomState,
) -> Clusters:
    """Cluster by Lloyd's algorithm from one start by k-means++.

    Parameters
    ----------
    points : ndarray of shape (N, D), float32 or float64
    n_clusters : int
    sample_weight : ndarray of shape (N,) or None
    tol : float
        How far centres may move at rest: their squares together, relative to the mean
        variance of the features.
    random_state : RandomState
    """
    if n_clusters == 1:
        return OneCluster(points, random_state)
    if _is_native(points, n_clusters):
        return native_kmeans(points, n_clusters, sample_weight, tol, random_state)
    with openmp_of_others():
        found = KMeans(n_clusters, n_init=1, tol=tol, random_state=random_state)
        return found.fit(points, sample_weight=sample_weight)


def choose_seeds(
    points: np.ndarray,
    n_clusters: int,
    sample_weight: np.ndarray | None,
    random_state: RandomState,
) -> np.ndarray:
    """Return which rows, (K,), k-means++ chooses, far from each other.

    Parameters are those of `find_clusters`.
    """
    if _is_native(points, n_clusters):
        return native_kmeans_plusplus(points, n_clusters, sample_weight, random_state)
    with openmp_of_others():
        _, rows = kmeans_plusplus(
            points, n_clusters, sample_weight=sample_weight, random_state=random_state
        )
    return np.asarray(rows)
