"""Samples with missing features, and a dense reference that takes them row by row."""

from math import log, pi

import numpy as np

from tests import reference


def with_gaps(rng, points, share, *, empty=False):
    """Return points of which a share is NaN; no row is empty unless that is asked."""
    points = points.copy()
    gaps = rng.random(points.shape) < share
    if not empty:
        gaps[
            np.arange(len(points)), rng.integers(points.shape[1], size=len(points))
        ] = 0
    points[gaps] = np.nan
    return points


def all_patterns(n_features):
    """Return each set of observed features, as rows of bool."""
    numbers = np.arange(2**n_features)[:, None]
    return (numbers >> np.arange(n_features) & 1).astype(bool)


def terms(points, structure, offsets, means, factors):
    """Return log p_ij of what is observed, and the moments given it, row by row.

    Returns
    -------
    terms : ndarray of shape (N, M)
    completed : ndarray of shape (N, M, D)
        Conditional means less `means`.
    spread : ndarray of shape (N, M, D, D)
        Conditional covariances, zero where features are observed.
    """
    matrices = reference.as_matrices(structure, factors, means)
    covariances = np.linalg.inv(matrices @ np.swapaxes(matrices, -1, -2))
    log_weights = offsets - reference.offsets_of("full", 1.0, means, matrices)
    (n, d), m = points.shape, len(means)
    found = np.zeros((n, m))
    completed, spread = np.zeros((n, m, d)), np.zeros((n, m, d, d))
    for i, point in enumerate(points.astype(np.float64)):
        o = np.flatnonzero(~np.isnan(point))
        q = np.flatnonzero(np.isnan(point))
        for j, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
            z = point[o] - mean[o]
            own, across = covariance[np.ix_(o, o)], covariance[np.ix_(q, o)]
            whitened = np.linalg.solve(own, z)
            volume = np.linalg.slogdet(2 * pi * own)[1]
            found[i, j] = log_weights[j] - 0.5 * (volume + z @ whitened)
            completed[i, j, o], completed[i, j, q] = z, across @ whitened
            rest = covariance[np.ix_(q, q)] - across @ np.linalg.solve(own, across.T)
            spread[i, j][np.ix_(q, q)] = rest
    return found, completed, spread


def moments(points, sample_weight, structure, offsets, means, factors):
    """Return the expected `Sums` about `means`."""
    found, completed, spread = terms(points, structure, offsets, means, factors)
    densities = reference.log_sum_exp(found)
    weights = np.ones(len(points)) if sample_weight is None else sample_weight
    shares = np.exp(found - densities[:, None]) * weights.astype(np.float64)[:, None]
    second = np.einsum("nj,nja,njb->jab", shares, completed, completed)
    second += np.einsum("nj,njab->jab", shares, spread)
    return reference.Sums(
        shares.sum(axis=0),
        np.einsum("nj,nja->ja", shares, completed),
        reference.fold_scatter(structure, second),
        float(weights.astype(np.float64) @ densities),
    )


def entropy_of_missing(points, structure, offsets, means, factors):
    """Return ``sum_ij g_ij E log p(y_i | x_i, j)`` of missing features y_i."""
    found, _, spread = terms(points, structure, offsets, means, factors)
    shares = np.exp(found - reference.log_sum_exp(found)[:, None])
    total = 0.0
    for i, point in enumerate(points):
        q = np.flatnonzero(np.isnan(point))
        for j in range(len(means)):
            volume = np.linalg.slogdet(spread[i, j][np.ix_(q, q)])[1]
            total -= shares[i, j] * 0.5 * (len(q) * (1 + log(2 * pi)) + volume)
    return total
