"""Priors on the parameters: terms of the cost that do not depend on the data."""

from __future__ import annotations

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

    def value(self, weights: Tensor) -> Tensor:
        """Return the prior's term of the cost, a differentiable scalar."""
        tiny = torch.finfo(weights.dtype).tiny
        roots = weights.clamp_min(tiny).sqrt()
        return self.sparsity / self.n_components * roots.sum()

    def maximize(self, fractions: Tensor, weights: Tensor) -> Tensor:
        """Return the weights that the M-step makes of mass fractions.

        Minimises ``-sum_j r_j log W_j + (s / M) sum_j sqrt(W_j)`` over the simplex,
        by majorisation: the concave square root lies under its tangent at the
        current weights, with which the minimum is ``r_j / (lam + d_j)``. Each
        tangent step lowers the cost; they are repeated until the weights rest.

        Parameters
        ----------
        fractions : Tensor of shape (M,)
            Masses r_j, summing to 1.
        weights : Tensor of shape (M,)
            Where the first tangent touches.
        """
        if self.sparsity == 0:
            return fractions
        weights = weights / weights.sum()
        for _ in range(_MAX_TANGENTS):
            slopes = self.sparsity / (2 * self.n_components * weights.sqrt())
            previous, weights = weights, _weights_on_tangent(fractions, slopes)
            if bool((weights - previous).abs().max() < 1e-12):
                break
        return weights

    def alive(self, weights: Tensor) -> Tensor:
        """Tell, (M,) bool, which components the prior has not extinguished."""
        if self.sparsity == 0:
            return torch.ones_like(weights, dtype=torch.bool)
        return weights > torch.finfo(weights.dtype).eps


def _weights_on_tangent(fractions: Tensor, slopes: Tensor) -> Tensor:
    """Minimise ``-sum_j r_j log W_j + sum_j d_j W_j`` over the simplex.

    The multiplier is the only root of ``sum_j r_j / (lam + d_j) = 1`` above
    ``-min d_j``. The reciprocal of the sum is concave and increasing there, so
    Newton's method on it climbs to the root from the left without overshooting.
    """
    lam = (fractions - slopes)[fractions > 0].max()
    for _ in range(_MAX_NEWTON):
        shares = torch.where(fractions > 0, fractions / (lam + slopes), 0.0)
        total = shares.sum()
        slope = torch.where(fractions > 0, shares / (lam + slopes), 0.0).sum()
        step = (total - 1.0) * total / slope
        lam = lam + step
        if not bool(step > 1e-15 * slopes.min().clamp_min(1.0)):
            break
    shares = torch.where(fractions > 0, fractions / (lam + slopes), 0.0)
    return shares / shares.sum()
