"""Criteria by which mixtures with different numbers of components are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True)
class Evidence:
    """What a criterion needs to know of a mixture and the data that it was fitted to.

    Attributes
    ----------
    n_samples : float
        The sum of weights that are all integers, the effective number of others.
    log_likelihood : float
        The sum over the samples.
    entropy : float
        That of the responsibilities, summed over the samples.
    n_components : int
    n_own : int
        Free parameters of each component, without its weight.
    n_shared : int
        Free parameters of the covariance that all share.
    n_noise : int, default=0
        Free parameters of noise: its weight.
    rounding : float, default=0.0
        What the log-likelihood exceeds that of values which stand for all that rounds
        to them by.
    """

    n_samples: float
    log_likelihood: float
    entropy: float
    n_components: int
    n_own: int
    n_shared: int
    n_noise: int = 0
    rounding: float = 0.0

    @property
    def fit(self) -> float:
        """The log-likelihood that criteria compare, summed over the samples."""
        return self.log_likelihood - self.rounding

    @property
    def n_parameters(self) -> int:
        """All free parameters."""
        return self.n_components * (self.n_own + 1) - 1 + self.n_shared + self.n_noise


def bic(evidence: Evidence) -> float:
    """Return the Bayesian information criterion (Schwarz, 1978)."""
    penalty = evidence.n_parameters * math.log(evidence.n_samples)
    return penalty - 2 * evidence.fit


def icl(evidence: Evidence) -> float:
    """Return the integrated completed likelihood (Biernacki, Celeux, Govaert, 2000).

    It prefers components that do not overlap.
    """
    return bic(evidence) + 2 * evidence.entropy


def lic(evidence: Evidence) -> float:
    """Return the location information criterion.

    A component too many gains more likelihood than its parameters alone would: of all
    places where the samples happen to be dense it can take the best. So it costs
    2 log N, in units of the deviance, to say at which of N samples it is, and 3 for
    each of its parameters: those are of AIC3 (Bozdogan, "Mixture-model cluster
    analysis using model selection criteria and a new informational measure of
    complexity", 1994).
    """
    places = 2 * evidence.n_components * math.log(evidence.n_samples)
    n_other = evidence.n_components * evidence.n_own + evidence.n_shared
    n_other += evidence.n_noise
    return places + 3 * n_other - 2 * evidence.fit


CRITERIA: dict[str, Callable[[Evidence], float]] = {"lic": lic, "bic": bic, "icl": icl}


def comparison_table(
    compared: list[tuple[str, Evidence]], criterion: np.ndarray
) -> dict[str, np.ndarray]:
    """Return a row for each mixture that was compared, as columns.

    Parameters
    ----------
    compared : list of (str, Evidence)
        Covariance types, and what was found with them.
    criterion : ndarray of shape (n_compared,)
        The lower the better.
    """
    types, evidence = zip(*compared, strict=True)
    return {
        "covariance_type": np.array(types),
        "n_components": np.array([e.n_components for e in evidence]),
        "n_parameters": np.array([e.n_parameters for e in evidence]),
        "log_likelihood": np.array([e.log_likelihood for e in evidence]),
        "criterion": criterion,
        "rank": rankdata(criterion, method="min").astype(int),
    }


def best_row(scores: np.ndarray, *, one_standard_error: bool) -> int:
    """Return the index of the best mixture, or of the smallest as good as it.

    Parameters
    ----------
    scores : ndarray of shape (n_mixtures, n_folds)
        Of mixtures with fewer and fewer components.
    one_standard_error : bool
        Whether all within one standard error of the best are as good.
    """
    means = scores.mean(axis=1)
    best = int(np.argmax(means))
    if not one_standard_error:
        return best
    error = scores[best].std(ddof=1) / np.sqrt(scores.shape[1])
    return int(np.flatnonzero(means >= means[best] - error)[-1])


def tied_rows(
    table: dict[str, np.ndarray], n_samples: float, scored: bool
) -> dict[str, np.ndarray]:
    """Return the rows whose criterion is as low as the lowest, best first.

    A difference of 2 in BIC is "not worth more than a bare mention" (Kass and Raftery,
    "Bayes factors", Journal of the American Statistical Association 90, 1995), and .005
    nats per sample is less than two starts of EM differ by.
    """
    values = table["criterion"]
    within = max(2.0, 0.01 * n_samples)
    order = np.argsort(values, kind="stable")
    behind = values[order] - values[order[0]]
    chosen = order[:0] if scored else order[1:][behind[1:] <= within]
    return {name: column[chosen] for name, column in table.items()}
