"""Priors on the parameters: terms of the cost that do not depend on the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_MAX_TANGENTS = 30
_MAX_NEWTON = 60


class SparsityPrior:
    """The tutorial's sparsity prior, ``(s / M) sum_j sqrt(W_j)``.

    Concave in the weights, it is smallest when few components hold all the mass.

    Parameters
    ----------
    sparsity : float
        The strength s >= 0; 0 leaves maximum likelihood.
    n_components : int
        M, as asked for: it does not change when components die.
    """

    def __init__(self, sparsity: float, n_components: int) -> None:
        self.sparsity = sparsity
        self.n_components = n_components
        # What the cost charges for the root of a weight.
        self.price = sparsity / n_components

    def value(self, weights: Tensor) -> Tensor:
        """Return the prior's term of the cost, a differentiable scalar."""
        return self.sparsity * self.unit_value(weights)

    def unit_value(self, weights: Tensor) -> Tensor:
        """Return ``sum_j sqrt(W_j) / M``, by which the cost grows with s."""
        tiny = torch.finfo(weights.dtype).tiny
        roots = weights.clamp_min(tiny).sqrt()
        return roots.sum() / self.n_components

    def maximize(self, fractions: Tensor, weights: Tensor) -> Tensor:
        """Return the weights that the M-step makes of mass fractions.

        Minimises ``-sum_j r_j log W_j + (s / M) sum_j sqrt(W_j)`` over the simplex:
        exactly where the prior is weak enough for that to be a convex problem in
        ``sqrt(W_j)``, otherwise by majorisation from `weights`. Either way the cost
        does not rise.

        Parameters
        ----------
        fractions : Tensor of shape (M,)
            Masses r_j, summing to 1.
        weights : Tensor of shape (M,)
            Where the majorisation starts.
        """
        if self.sparsity == 0:
            return fractions
        # A few numbers and many small steps: numpy takes them fastest.
        r = fractions.cpu().numpy()
        held = r > 0
        result = np.zeros_like(r)
        if 2 * np.sqrt(r @ r) >= self.price:
            result[held] = _convex_minimum(r[held], self.price)
        else:
            start = weights.cpu().numpy()[held]
            result[held] = _minimum_by_tangents(r[held], start, self.price)
        return torch.from_numpy(result).to(fractions)

    def alive(self, weights: Tensor) -> Tensor:
        """Tell, (M,) bool, which components the prior has not extinguished."""
        if self.sparsity == 0:
            return torch.ones_like(weights, dtype=torch.bool)
        alive = weights > torch.finfo(weights.dtype).eps
        # One is left, however strong the prior.
        alive[weights.argmax()] = True
        return alive


# A prior of a user's own: a scalar from weights, means and precision factors.
PriorFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


class UserPrior:
    """A term of the cost that a user has written in torch.

    Parameters
    ----------
    function : callable
        Of the weights (M,), the means (M, D) and the factors `precisions_cholesky`,
        upper-triangular and of their public shape: float64 tensors on the device of
        the data. Returns a tensor of shape ().
    """

    def __init__(self, function: PriorFunction) -> None:
        self.function = function

    def value(self, weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
        """Return the prior's term of the cost, a differentiable scalar.

        Raises
        ------
        ValueError
            If what the function returns cannot be part of a cost.
        """
        value = self.function(weights, means, factors)
        if not isinstance(value, Tensor) or value.ndim or value.is_complex():
            raise ValueError(
                "prior(weights, means, precisions_cholesky) must return a real "
                f"torch.Tensor of shape (), but it returned {_describe(value)}."
            )
        arguments = (weights, means, factors)
        differentiated = any(array.requires_grad for array in arguments)
        if differentiated and not value.requires_grad:
            raise ValueError(
                "prior(weights, means, precisions_cholesky) must be differentiable by "
                "torch, but what it returned is a constant: compute it from its "
                "arguments in torch, without numpy, item() or detach()."
            )
        if not bool(torch.isfinite(value)):
            raise ValueError(
                "prior(weights, means, precisions_cholesky) must be finite wherever "
                f"the fit goes, but it returned {value.item()}."
            )
        return value.to(weights)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{value!r} of type {type(value).__name__}"


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
