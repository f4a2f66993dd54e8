"""A dense, slow and independent reference for everything that a fit computes.

Nothing here imports the package. Sums over pairs are written with numpy in
extended precision, on all pairs at once; `exact_log_density` forms the squared
distances with rational numbers, so that no cancellation can touch them.

Arrays of covariances and factors have scikit-learn's shapes: (M, D, D) for "full",
(D, D) for "tied", (M, D) for "diag" and (M,) for "spherical"; those of our own are
(D,) for "tied_diag" and (1,) for "tied_spherical".
"""

from fractions import Fraction
from math import exp, fsum, inf, log, pi
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

STRUCTURES = ("full", "tied", "diag", "spherical")
COVARIANCE_TYPES = (*STRUCTURES, "tied_diag", "tied_spherical")

Wide = np.longdouble


class Mixture(NamedTuple):
    """Weights (M,), means (M, D) and covariances of a mixture."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class Sums(NamedTuple):
    """Moments about the means, as a backend defines them."""

    mass: np.ndarray
    first: np.ndarray
    second: np.ndarray
    log_likelihood: float


def shape_of_factors(structure, n_components, n_features):
    """Return the shape of the factors, or covariances, of a structure."""
    return {
        "full": (n_components, n_features, n_features),
        "tied": (n_features, n_features),
        "diag": (n_components, n_features),
        "spherical": (n_components,),
    }[structure]


def as_matrices(structure, array, means):
    """Return one (D, D) matrix per component, of shape (M, D, D)."""
    n_components, n_features = means.shape
    if structure == "full":
        return array
    if structure == "tied":
        return np.broadcast_to(array, (n_components, n_features, n_features))
    if structure == "diag":
        return array[:, :, None] * np.eye(n_features)
    if structure in ("tied_diag", "tied_spherical"):
        return np.tile(array * np.eye(n_features), (n_components, 1, 1))
    return array[:, None, None] * np.eye(n_features)


def fold_scatter(structure, matrices):
    """Return what `structure` keeps of one scatter matrix per component."""
    if structure == "full":
        return matrices
    if structure == "tied":
        return matrices.sum(axis=0)
    diagonals = np.diagonal(matrices, axis1=1, axis2=2)
    return diagonals if structure == "diag" else diagonals.sum(axis=1)


def factors_of(structure, covariances):
    """Return upper-triangular A with inv(covariance) = A A^T."""
    if structure not in ("full", "tied"):
        return 1 / np.sqrt(covariances)
    lower = np.linalg.cholesky(covariances)
    return np.swapaxes(np.linalg.inv(lower), -1, -2)


def offsets_of(structure, weights, means, factors):
    """Return log W_j - D/2 log(2 pi) + log|det A_j|, of shape (M,)."""
    log_determinants = np.linalg.slogdet(as_matrices(structure, factors, means))[1]
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    return log_weights - means.shape[1] / 2 * log(2 * pi) + log_determinants


def pair_terms(points, structure, offsets, means, factors):
    """Return log p_ij, of shape (N, M)."""
    matrices = as_matrices(structure, factors, means).astype(Wide)
    differences = points.astype(Wide)[:, None, :] - means.astype(Wide)
    projected = np.einsum("jab,nja->njb", matrices, differences)
    return offsets - (projected**2).sum(axis=2) / 2


def log_sum_exp(terms):
    """Return logsumexp over the last axis."""
    largest = terms.max(axis=1)
    return largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))


def log_density(points, structure, offsets, means, factors):
    """Return log p(x_i), of shape (N,)."""
    return log_sum_exp(pair_terms(points, structure, offsets, means, factors))


def responsibilities(points, structure, offsets, means, factors):
    """Return p(j | x_i), of shape (N, M)."""
    terms = pair_terms(points, structure, offsets, means, factors)
    return np.exp(terms - log_sum_exp(terms)[:, None])


def moments(points, sample_weight, structure, offsets, means, factors):
    """Return the weighted `Sums` about `means`."""
    terms = pair_terms(points, structure, offsets, means, factors)
    log_densities = log_sum_exp(terms)
    pulls = np.exp(terms - log_densities[:, None])
    if sample_weight is None:
        sample_weight = np.ones(len(points))
    pulls = pulls * sample_weight.astype(Wide)[:, None]
    differences = points.astype(Wide)[:, None, :] - means.astype(Wide)
    scatter = np.einsum("nj,nja,njb->jab", pulls, differences, differences)
    return Sums(
        pulls.sum(axis=0),
        np.einsum("nj,nja->ja", pulls, differences),
        fold_scatter(structure, scatter),
        float(sample_weight.astype(Wide) @ log_densities),
    )


def exact_log_density(points, structure, offsets, means, factors):
    """Return log p(x_i) with squared distances computed in rational numbers."""
    matrices = as_matrices(structure, factors, means)

    def squared_distance(point, mean, matrix):
        pairs = zip(point, mean, strict=True)
        shift = [Fraction(float(x)) - Fraction(float(m)) for x, m in pairs]
        columns = (
            sum(Fraction(float(a)) * d for a, d in zip(column, shift, strict=True))
            for column in matrix.T
        )
        return sum(column * column for column in columns)

    def one(point):
        terms = [
            float(offset) - float(squared_distance(point, mean, matrix) / 2)
            for offset, mean, matrix in zip(offsets, means, matrices, strict=True)
            if offset > -inf
        ]
        largest = max(terms)
        return largest + log(fsum(exp(term - largest) for term in terms))

    return np.array([one(point) for point in points])


def components_of(structure, mixture):
    """Return (structure, offsets, means, factors), what pairs are computed from."""
    weights, means, covariances = mixture
    factors = factors_of(structure, covariances)
    offsets = offsets_of(structure, weights, means, factors)
    return structure, offsets, means, factors


def mean_log_likelihood(points, structure, mixture, sample_weight=None):
    """Return the weighted mean of log p(x_i)."""
    log_densities = log_density(points, *components_of(structure, mixture))
    return float(np.average(log_densities, weights=sample_weight))


def penalised_cost(
    points, structure, mixture, *, sparsity, n_components, sample_weight=None
):
    """Return -mean log-likelihood + (s / M) sum_j sqrt(W_j)."""
    penalty = sparsity / n_components * np.sqrt(mixture.weights).sum()
    return penalty - mean_log_likelihood(points, structure, mixture, sample_weight)


def tangent_weights(mass, weights, slope):
    """Minimise -sum mass log W + slope * (tangent of sum sqrt W at `weights`).

    `mass` sums to one; the solution is mass / (lambda + d), with one root lambda.
    """
    alive = mass > 0
    prices = slope / (2 * np.sqrt(weights[alive]))
    mass = mass[alive]

    def excess(gap):
        return (mass / (gap + prices - prices.min())).sum() - 1

    low = mass[prices.argmin()] / 2
    gap = brentq(excess, low, 2.0, xtol=1e-300, rtol=4 * np.finfo(float).eps)
    solution = np.zeros_like(weights)
    solution[alive] = mass / (gap + prices - prices.min())
    return solution


def em_step(points, structure, mixture, *, sample_weight=None, reg_covar=0.0):
    """Return the `Mixture` of one EM step with sparsity 0."""
    _, offsets, means, factors = components_of(structure, mixture)
    matrices = as_matrices(structure, factors, means)
    sums = moments(points, sample_weight, "full", offsets, means, matrices)
    return m_step(structure, sums, means, reg_covar)


def m_step(structure, sums, means, reg_covar):
    """Return the `Mixture` that full `Sums` about some means define."""
    total, n_features = sums.mass.sum(), means.shape[1]
    shifts = sums.first / sums.mass[:, None]
    scatter = sums.second - np.einsum("j,ja,jb->jab", sums.mass, shifts, shifts)
    if structure in ("full", "diag", "spherical"):
        pooled = scatter / sums.mass[:, None, None]
    else:
        pooled = scatter.sum(axis=0) / total
    diagonals = np.diagonal(pooled, axis1=-2, axis2=-1) + reg_covar
    covariances = {
        "full": lambda: pooled + reg_covar * np.eye(n_features),
        "tied": lambda: pooled + reg_covar * np.eye(n_features),
        "diag": lambda: diagonals,
        "spherical": lambda: diagonals.mean(axis=1),
        "tied_diag": lambda: diagonals,
        "tied_spherical": lambda: diagonals.mean(keepdims=True),
    }[structure]()
    return Mixture(
        (sums.mass / total).astype(float),
        (means + shifts).astype(float),
        covariances.astype(float),
    )
