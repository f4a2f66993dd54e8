"""Fits that continue from an earlier result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._fit._held import check_held
from sklearn_keops_gmm._fit._noise_start import TYPICAL_NOISE
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import MixtureParameters


@dataclass(frozen=True)
class WarmStart:
    """What a warm start continues: a mixture, and the cost before its last step."""

    parameters: MixtureParameters
    cost: float

    def start(self, problem: StartData) -> MixtureParameters:
        """Return the mixture, with noise where this problem has some."""
        noise_weight = 0.0
        if problem.noise is not None:
            noise_weight = self.parameters.noise_weight or TYPICAL_NOISE
        found = replace(self.parameters, noise_weight=noise_weight)
        return found.to(problem.points.device)


def continues(mixture: Any) -> bool:
    """Return whether the next fit of an estimator is a warm start."""
    return bool(mixture.warm_start) and hasattr(mixture, "converged_")


def warm_start_of(
    mixture: Any, n_features: int, names: np.ndarray | None = None
) -> WarmStart | None:
    """Return what a warm start continues, if the next fit is one.

    Parameters
    ----------
    mixture : estimator
        It has the names of its features from the data.
    n_features : int
        Of the data.
    names : ndarray of shape (n_features,), default=None
        Of the features of the fit before, if they had some.

    Raises
    ------
    ValueError
        If the data have other features or their names are in another order, or a
        parameter was set that only a fit anew could heed.
    """
    if not continues(mixture):
        return None
    check_held(mixture, "warm_start=True")
    if mixture.means_.shape[1] != n_features:
        raise ValueError(
            "warm_start=True continues a fit to data with "
            f"{mixture.means_.shape[1]} features, but X has {n_features}."
        )
    now = getattr(mixture, "feature_names_in_", None)
    if names is not None and now is not None and list(names) != list(now):
        raise ValueError(
            f"warm_start=True continues a fit to features {list(names)}, but X has "
            f"{list(now)}. Give the same columns in the same order, or set "
            "warm_start=False to begin anew."
        )
    cost = mixture.costs_[-1] if mixture.costs_ else np.inf
    return WarmStart(fitted_model(mixture).parameters, cost)
