"""The weights that mass fractions have where the roots of weights have a price."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Of mass fractions, (M,), of weights to start from, (M,), and of the price of a root:
# weights, (M,). They all sum to 1.
WeightsOfMass = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

_MAX_TANGENTS = 30
_MAX_NEWTON = 60


def sparse_weights(
    fractions: np.ndarray, start: np.ndarray, price: float
) -> np.ndarray:
    """Lower ``-sum_j r_j log W_j + price sum_j sqrt(W_j)`` over the simplex.

    To the minimum where the price is so low that the problem is convex in
    ``sqrt(W_j)``, otherwise from `start`. Either way the cost does not rise.

    Parameters
    ----------
    fractions : ndarray of shape (M,), float64
        Masses r_j as parts of that of all samples. What has none has no weight.
    start : ndarray of shape (M,), float64
        Weights where the majorisation starts.
    price : float
    """
    held = fractions > 0
    weights, r = np.zeros_like(fractions), fractions[held]
    if 2 * np.sqrt(r @ r) >= price:
        weights[held] = _convex_minimum(r, price)
    else:
        weights[held] = _minimum_by_tangents(r, start[held], price)
    return weights


def _convex_minimum(r: np.ndarray, price: float) -> np.ndarray:
    """Minimise ``-sum_j r_j log W_j + price sum_j sqrt(W_j)`` over the simplex.

    With u = sqrt(W) and a multiplier lam >= 0 the Lagrangian is convex in u, and so
    its stationary point ``lam u^2 + price u / 2 = r`` is the global minimum. The
    norm of u falls with lam, from at least 1 at lam = 0, which the caller checks.
    As the inverse of that norm is concave, Newton's method on it climbs to the
    root ``lam = 1 - price / 2 sum_j u_j`` from the left without overshooting.
    """
    half = 0.5 * price
    lam = max(0.0, 1 - half * np.sqrt(len(r)))
    for _ in range(_MAX_NEWTON):
        discriminant = np.sqrt(half * half + 4 * lam * r)
        roots = 2 * r / (half + discriminant)
        norm = np.sqrt(roots @ roots)
        slope = (roots**3 / discriminant).sum()
        step = (norm - 1) * norm**2 / slope
        lam += step
        if not step > 1e-15:
            break
    return roots**2 / (roots @ roots)


def _minimum_by_tangents(
    r: np.ndarray, weights: np.ndarray, price: float
) -> np.ndarray:
    """Lower ``-sum_j r_j log W_j + price sum_j sqrt(W_j)`` over the simplex.

    The concave square root lies under its tangent at the current weights, with
    which the minimum is ``r_j / (lam + d_j)``. Each tangent lowers the cost; they
    are repeated until the weights converge.
    """
    weights = weights / weights.sum()
    for _ in range(_MAX_TANGENTS):
        # Infinitely steep for what is as good as gone.
        with np.errstate(over="ignore", divide="ignore"):
            slopes = price / (2 * np.sqrt(weights))
        previous, weights = weights, _weights_on_tangent(r, slopes)
        if np.abs(weights - previous).max() < 1e-12:
            break
    return weights


def _weights_on_tangent(r: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Minimise ``-sum_j r_j log W_j + sum_j d_j W_j`` over the simplex.

    The multiplier is the only root of ``sum_j r_j / (lam + d_j) = 1`` above
    ``-min d_j``. The reciprocal of the sum is concave and increasing there, so
    Newton's method on it climbs to the root from the left without overshooting.
    """
    # All that counts is how much steeper they are than the least steep.
    slopes = slopes - slopes.min()
    lam = (r - slopes).max()
    for _ in range(_MAX_NEWTON):
        shares = r / (lam + slopes)
        total = shares.sum()
        step = (total - 1.0) * total / (shares / (lam + slopes)).sum()
        lam += step
        if not step > 1e-15:
            break
    shares = r / (lam + slopes)
    return shares / shares.sum()
