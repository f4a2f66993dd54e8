"""One class per covariance type: its shape, its factors, its M-step.

Adding a type means adding a class here and a line to `COVARIANCES`; no other file
asks which type it works with.
"""

from sklearn_keops_gmm._model.covariances._base import (
    ILL_DEFINED,
    MASS_FLOOR,
    CovarianceStructure,
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

COVARIANCES: dict[str, CovarianceStructure] = {
    covariance.name: covariance
    for covariance in (
        FullCovariance(),
        TiedCovariance(),
        DiagonalCovariance(),
        SphericalCovariance(),
        TiedDiagonalCovariance(),
        TiedSphericalCovariance(),
    )
}

__all__ = [
    "COVARIANCES",
    "ILL_DEFINED",
    "MASS_FLOOR",
    "CovarianceStructure",
    "above_mass_floor",
]
