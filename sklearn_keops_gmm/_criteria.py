"""Criteria by which mixtures with different numbers of components are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """What a criterion needs to know of a mixture and the data that it was fitted to.

    Attributes
    ----------
    n_samples : float
        The sum of the sample weights.
    log_likelihood : float
        The sum over the samples.
    entropy : float
        That of the responsibilities, summed over the samples.
    n_components : int
    n_own : int
        Free parameters of each component, without its weight.
    n_shared : int
        Free parameters of the covariance that all share.
    """

    n_samples: float
    log_likelihood: float
    entropy: float
    n_components: int
    n_own: int
    n_shared: int

    @property
    def n_parameters(self) -> int:
        """All free parameters."""
        return self.n_components * (self.n_own + 1) - 1 + self.n_shared


def bic(evidence: Evidence) -> float:
    """Return the Bayesian information criterion (Schwarz, 1978)."""
    penalty = evidence.n_parameters * math.log(evidence.n_samples)
    return penalty - 2 * evidence.log_likelihood


def icl(evidence: Evidence) -> float:
    """Return the integrated completed likelihood (Biernacki, Celeux, Govaert, 2000).

    It prefers components that do not overlap.
    """
    return bic(evidence) + 2 * evidence.entropy


def mdl(evidence: Evidence) -> float:
    """Return the description length of a mixture.

    As BIC, but the parameters of a component are told with the precision that the
    samples of one component give them, not all samples: Figueiredo, Leitao and
    Jain, "On fitting mixture models", EMMCVPR 1999, with equal weights in place of
    the fitted, so that a speck of a component is not cheap.
    """
    of_one = math.log(evidence.n_samples / evidence.n_components)
    of_all = math.log(evidence.n_samples)
    n_own = evidence.n_components * evidence.n_own
    n_rest = evidence.n_components - 1 + evidence.n_shared
    return n_own * of_one + n_rest * of_all - 2 * evidence.log_likelihood


CRITERIA: dict[str, Callable[[Evidence], float]] = {"mdl": mdl, "bic": bic, "icl": icl}
