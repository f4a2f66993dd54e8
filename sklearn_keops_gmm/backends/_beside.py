"""Sums over samples that something else explains too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._protocol import Reductions


class InOnePass(Protocol):
    """Reductions that take along the density of something else.

    Others pass over the points once for the shares, and once more for the moments.
    """

    def moments_beside(self, components: Components, rest: float | Tensor) -> Moments:
        """Return the moments, with the log-likelihood of both together.

        The logarithm of the density of what else there is is that at all points, or
        at each, (N,).
        """


def is_in_one_pass(reductions: Reductions) -> TypeGuard[InOnePass]:
    """Tell it of reductions; `isinstance` would take as long as sums over few rows."""
    return hasattr(reductions, "moments_beside")


@dataclass(frozen=True, eq=False)
class Shared:
    """Rows that components share with something that has a density of its own.

    Attributes
    ----------
    reductions : Reductions
        Over rows that are held.
    own : Tensor of shape (N,)
        The log-density of the components.
    both : Tensor of shape (N,), float64
        That of all.
    """

    reductions: Reductions
    own: Tensor
    both: Tensor

    @classmethod
    def of(cls, reductions: Reductions, own: Tensor, rest: Tensor) -> Shared:
        """Return the rows with log-densities, (N,), of components and of what else."""
        return cls(reductions, own, torch.logaddexp(own.double(), rest))

    def weighted(self, shares: Tensor) -> Tensor:
        """Return parts of the rows, (N,), times the weights of these."""
        weights = self.reductions.sample_weight
        return shares if weights is None else shares * weights

    def moments(self, components: Components) -> Moments:
        """Return the moments, and the log-likelihood of all together."""
        weights = self.reductions.sample_weight
        both = self.both
        total = both.sum() if weights is None else weights.double() @ both
        shares = self.weighted((self.own - both).exp())
        weighted = self.reductions.reweighted(shares.to(self.own.dtype))
        return replace(weighted.moments(components), log_likelihood=float(total))


@dataclass(frozen=True)
class Beside:
    """Moments of components beside something that is held.

    Noise, if there is some, is a part of that.

    Parameters
    ----------
    reductions : Reductions
        Over rows that are held.
    rest : Tensor of shape (N,), float64
        The log-density of what else explains each row.
    n_samples : int
        How many rows there are with those that these were chosen from.
    """

    reductions: Reductions
    rest: Tensor
    n_samples: int

    def moments(self, components: Components) -> Moments:
        """Return the moments, and the log-likelihood of both together."""
        components = replace(components, noise_weight=0.0)
        if is_in_one_pass(self.reductions):
            return self.reductions.moments_beside(components, self.rest)
        return self._shared(components).moments(components)

    def log_density(self, components: Components) -> Tensor:
        """Return the log-density of both together, (N,), float64."""
        return self._shared(replace(components, noise_weight=0.0)).both

    def _shared(self, components: Components) -> Shared:
        own = self.reductions.log_density(components)
        return Shared.of(self.reductions, own, self.rest)
