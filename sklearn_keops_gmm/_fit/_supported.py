"""What can be fitted with what."""

from __future__ import annotations

from typing import Any, Protocol

from sklearn_keops_gmm._model import Prior
from sklearn_keops_gmm._model.covariances import CovarianceStructure


def check_init_params(covariance: CovarianceStructure, init_params: str) -> None:
    """Raise ValueError if a structure does not support a start."""
    _check(covariance, "init_params", init_params, covariance.starts)


def check_solver(
    covariance: CovarianceStructure, solver: str, acceleration: str | None
) -> None:
    """Raise ValueError if a structure does not support a solver."""
    _check(covariance, "solver", solver, covariance.solvers)
    if acceleration is not None:
        _check(covariance, "acceleration", acceleration, covariance.solvers)


class Parameters(Protocol):
    """Parameters of an estimator by which components may leave or change places."""

    sparsity: float
    prior: Any
    solver: str
    moves: bool | str
    init_params: str


def check_components_stay(mixture: Parameters, given: str) -> None:
    """Raise ValueError if components may leave or change places in a fit.

    Parameters
    ----------
    mixture : estimator
    given : str
        The parameter that speaks of components by their numbers, for the message.
    """
    prior = mixture.prior
    selects = prior.selects if isinstance(prior, Prior) else prior is not None
    moves_by_em = bool(mixture.moves) and mixture.solver == "em"
    hindrances = {
        "sparsity": (mixture.sparsity > 0, "0"),
        # With "auto" there are some where there is a sparsity.
        "moves": (mixture.moves != "auto" and moves_by_em, "False"),
        "prior": (selects, "None"),
        "init_params": (mixture.init_params == "merge", "'kmeans'"),
    }
    for name, (hinders, remedy) in hindrances.items():
        if hinders:
            raise ValueError(
                f"{given} speaks of components by their numbers, but with "
                f"{name}={getattr(mixture, name)!r} they may leave or change places. "
                f"Use {name}={remedy}."
            )


def has_steps(mixture: Any) -> bool:
    """Tell that a mixture's solver is EM, or raise AttributeError."""
    if mixture.solver != "em":
        raise AttributeError(
            "partial_fit makes steps of online EM: it needs solver='em', but got "
            f"solver={mixture.solver!r}."
        )
    return True


def _check(
    covariance: CovarianceStructure,
    parameter: str,
    name: str,
    supported: frozenset[str] | None,
) -> None:
    if supported is not None and name not in supported:
        raise ValueError(
            f"covariance_type={covariance.name!r} does not support "
            f"{parameter}={name!r}, but {', '.join(map(repr, sorted(supported)))}. "
            f"Use another {parameter} or covariance_type."
        )
