"""What a covariance structure can be fitted with."""

from __future__ import annotations

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
