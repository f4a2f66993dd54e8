"""One class per covariance type: its shape, its factors, its M-step.

Adding a type means adding a class here and a line to `COVARIANCES`; no other file
asks which type it works with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn_keops_gmm._model.covariances._base import (
    ILL_DEFINED,
    MASS_FLOOR,
    CovarianceStructure,
    SharedCovariance,
    above_mass_floor,
)
from sklearn_keops_gmm._model.covariances._diagonals import (
    DiagonalCovariance,
    SphericalCovariance,
    TiedDiagonalCovariance,
    TiedSphericalCovariance,
)
from sklearn_keops_gmm._model.covariances._matrices import (
    FullCovariance,
    TiedCovariance,
)
from sklearn_keops_gmm._model.covariances._pooling import pulled

# By the names that `covariance_type` takes.
COVARIANCES: dict[str, Callable[..., CovarianceStructure]] = {
    covariance.name: covariance
    for covariance in (
        FullCovariance,
        TiedCovariance,
        DiagonalCovariance,
        SphericalCovariance,
        TiedDiagonalCovariance,
        TiedSphericalCovariance,
    )
}


def make_covariance(covariance_type: str, **options: Any) -> CovarianceStructure:
    """Return the structure of that name.

    Parameters
    ----------
    covariance_type : str
        A key of `COVARIANCES`.
    **options
        What its class takes. None of the package's own takes any.
    """
    return COVARIANCES[covariance_type](**options)


def resolve_types(given: str | Sequence[str]) -> list[str]:
    """Return the covariance types that are to be compared, each once.

    Parameters
    ----------
    given : str or sequence of str
        One of them, some, or 'auto' for all.

    Raises
    ------
    ValueError
        If there are none, or one is unknown.
    """
    if isinstance(given, str):
        return list(COVARIANCES) if given == "auto" else [given]
    unknown = [name for name in given if name not in COVARIANCES]
    if unknown or not given:
        raise ValueError(
            "'covariance_type' must be 'auto', a covariance type or a list of "
            f"them, of {', '.join(map(repr, COVARIANCES))}; got {given!r}."
        )
    return list(dict.fromkeys(given))


__all__ = [
    "COVARIANCES",
    "ILL_DEFINED",
    "MASS_FLOOR",
    "CovarianceStructure",
    "SharedCovariance",
    "above_mass_floor",
    "make_covariance",
    "pulled",
    "resolve_types",
]
