"""Sums over samples that something else explains too, which is held."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._protocol import Reductions


@dataclass(frozen=True)
class Beside:
    """Moments of components beside something that has a density of its own.

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
        own = self.reductions.log_density(components)
        both = torch.logaddexp(own.double(), self.rest)
        shares = (own - both).exp()
        weights = self.reductions.sample_weight
        total = both.sum() if weights is None else weights.double() @ both
        if weights is not None:
            shares = shares * weights
        weighted = self.reductions.reweighted(shares.to(own.dtype))
        return replace(weighted.moments(components), log_likelihood=float(total))
