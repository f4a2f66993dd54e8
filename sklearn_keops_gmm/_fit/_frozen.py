"""Parameters that a user keeps as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data import to_numpy
from sklearn_keops_gmm._fit._supported import Parameters as MovingParameters
from sklearn_keops_gmm._fit._supported import check_components_stay
from sklearn_keops_gmm._model import Frozen, FrozenParameters, MixtureParameters
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# What may be frozen, and what a start is told it by.
_INITIAL = {
    "weights": "weights_init",
    "means": "means_init",
    "covariances": "precisions_init",
}
# Weights that leave less leave nothing.
_NOTHING = 1e-8


class Parameters(MovingParameters, Protocol):
    """The estimator's parameters that what is frozen depends on."""

    n_components: int
    frozen: Any
    noise: str | None


def frozen_parameters(
    mixture: Parameters, covariance: CovarianceStructure
) -> FrozenParameters | None:
    """Return the prior under which parameters stay, if some are to.

    Raises
    ------
    ValueError
        If `frozen` names other parameters, or does not go with another parameter.
    """
    if not mixture.frozen:
        return None
    check_components_stay(mixture, "frozen")
    if mixture.noise is not None:
        raise ValueError(
            f"frozen is for mixtures without noise, but got noise={mixture.noise!r}. "
            "Use noise=None, or frozen=None."
        )
    if mixture.solver == "adam":
        raise ValueError(
            "frozen is for solver='em' and 'lbfgs', but got solver='adam'. Use one of "
            "these, or frozen=None."
        )
    masks = _masks(mixture.frozen, mixture.n_components)
    own = masks["covariances"]
    if covariance.shared and bool(own.any()) and not bool(own.all()):
        raise ValueError(
            "frozen has a mask of some covariances, but components share one with "
            f"covariance_type={covariance.name!r}. Freeze it for all, or use a type in "
            "which each has its own."
        )
    return FrozenParameters(Frozen(**masks), covariance.shared)


def held_parameters(mixture: Any) -> Frozen | None:
    """Return which parameters of a fitted mixture were known, if some were.

    Raises
    ------
    ValueError
        If `frozen` was changed, and is not of its components.
    """
    if not mixture.frozen:
        return None
    return Frozen(**_masks(mixture.frozen, len(mixture.means_)))


def check_frozen_start(
    mixture: Parameters, start: MixtureParameters, continued: bool
) -> None:
    """Raise ValueError unless what is frozen is known at the start of a fit.

    Parameters
    ----------
    mixture : estimator
    start : MixtureParameters
    continued : bool
        Whether an earlier result says where to start.
    """
    if not mixture.frozen:
        return
    n_components = mixture.n_components
    if len(start.weights) != n_components:
        raise ValueError(
            f"frozen is of n_components={n_components} components, but the fit that "
            f"warm_start=True continues has {len(start.weights)}."
        )
    masks = _masks(mixture.frozen, n_components)
    for name, initial in _INITIAL.items():
        if masks[name].any() and not continued and getattr(mixture, initial) is None:
            raise ValueError(
                f"frozen keeps {name} as they are at the start, but {initial}=None. "
                f"Give {initial}, or continue from a fitted mixture by warm_start=True."
            )
    stay = masks["weights"].to(start.weights.device)
    held = float(start.weights[stay].sum())
    if not bool(stay.all()) and held > 1 - _NOTHING:
        raise ValueError(
            f"frozen keeps weights that sum to {held:g}, which leaves nothing for the "
            "other components."
        )


def _masks(frozen: Any, n_components: int) -> dict[str, Tensor]:
    """Return which components keep which parameters, (M,) bool each."""
    given = frozen if isinstance(frozen, Mapping) else dict.fromkeys(frozen, True)
    unknown = [name for name in given if name not in _INITIAL]
    if unknown:
        raise ValueError(
            f"frozen names {unknown[0]!r}. Accepted are 'weights', 'means' and "
            "'covariances', in a list, or as the keys of a dictionary of masks."
        )
    return {
        name: _mask(name, given.get(name, False), n_components) for name in _INITIAL
    }


def _mask(name: str, given: Any, n_components: int) -> Tensor:
    array = np.asarray(to_numpy(given))
    if array.dtype != np.bool_ or array.shape not in ((), (n_components,)):
        raise ValueError(
            f"frozen[{name!r}] has to be True, False or a boolean for each of the "
            f"{n_components} components, but got {given!r}."
        )
    return torch.from_numpy(np.broadcast_to(array, n_components).copy())
