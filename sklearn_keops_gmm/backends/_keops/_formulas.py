"""What KeOps sums over pairs: a kernel per kind of factors, a layout per structure.

Compiling is slow, so there are only two kernels of two formulas each: a tied
matrix is repeated for every component, a spherical width for every feature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from sklearn_keops_gmm._model import Structure
from sklearn_keops_gmm.backends._keops._runtime import Formula


@dataclass(frozen=True)
class KernelComponents:
    """Components as KeOps takes them, in the frame and the dtype of the points.

    Attributes
    ----------
    kernel : Kernel
    means : Tensor of shape (M, D)
    factors : Tensor of shape (M, D * D) or (M, D)
        Times the square root of 1/2.
    offsets : Tensor of shape (M, 1)
    """

    kernel: Kernel
    means: Tensor
    factors: Tensor
    offsets: Tensor

    @property
    def arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.means, self.factors, self.offsets


class Kernel(ABC):
    """The formulas of one kind of factors.

    Their variables are x, m: points and means; A, o: factors and offsets; l, v:
    log-densities and sample weights.
    """

    structure: Structure
    _squared_distance: str
    _sums: str

    @abstractmethod
    def n_factors(self, n_features: int) -> int:
        """Return the length of A."""

    @abstractmethod
    def n_sums(self, n_features: int) -> int:
        """Return the number S of sums for each component."""

    @abstractmethod
    def split(self, sums: Tensor, n_features: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return mass, first and second moments from their sums, (M, S)."""

    @abstractmethod
    def outer(self, left: Tensor, right: Tensor) -> Tensor:
        """Return what second moments are made of, from two (M, D) tensors."""

    @abstractmethod
    def as_array(self, factors: Tensor, n_features: int) -> Tensor:
        """Return (M, ...) factors in the shape of the structure."""

    def log_density(self, n_features: int) -> Formula:
        """Return the log-sum-exp over components."""
        expression = f"o-{self._squared_distance}"
        return Formula(expression, self._variables(n_features), "LogSumExp", axis=1)

    def moments(self, n_features: int) -> Formula:
        """Return the sum over samples."""
        weight = f"v*Exp((o-{self._squared_distance})-l)"
        return Formula(
            self._sums.format(weight=weight),
            (*self._variables(n_features), "l=Vi(1)", "v=Vi(1)"),
            "Sum",
            axis=0,
            accumulate_in_float64=True,
        )

    def _variables(self, n_features: int) -> tuple[str, ...]:
        return (
            f"x=Vi({n_features})",
            f"m=Vj({n_features})",
            f"A=Vj({self.n_factors(n_features)})",
            "o=Vj(1)",
        )


class _MatrixKernel(Kernel):
    structure: Structure = "full"
    _squared_distance = "SqNorm2(VecMatMult(x-m,A))"
    # All moments at once, of (1, x - m): the exponential is computed only once,
    # and no array of D * D but the result is held.
    _sums = "TensorProd(({weight})*Concat(IntCst(1),x-m),Concat(IntCst(1),x-m))"

    def n_factors(self, n_features: int) -> int:
        return n_features**2

    def n_sums(self, n_features: int) -> int:
        return (1 + n_features) ** 2

    def split(self, sums: Tensor, n_features: int) -> tuple[Tensor, Tensor, Tensor]:
        blocks = sums.view(-1, 1 + n_features, 1 + n_features)
        return blocks[:, 0, 0], blocks[:, 0, 1:], blocks[:, 1:, 1:]

    def outer(self, left: Tensor, right: Tensor) -> Tensor:
        return left[:, :, None] * right[:, None, :]

    def as_array(self, factors: Tensor, n_features: int) -> Tensor:
        return factors.view(-1, n_features, n_features)


class _DiagonalKernel(Kernel):
    structure: Structure = "diag"
    _squared_distance = "SqNorm2(A*(x-m))"
    _sums = "({weight})*Concat(IntCst(1),Concat(x-m,Square(x-m)))"

    def n_factors(self, n_features: int) -> int:
        return n_features

    def n_sums(self, n_features: int) -> int:
        return 1 + 2 * n_features

    def split(self, sums: Tensor, n_features: int) -> tuple[Tensor, Tensor, Tensor]:
        return sums[:, 0], sums[:, 1 : 1 + n_features], sums[:, 1 + n_features :]

    def outer(self, left: Tensor, right: Tensor) -> Tensor:
        return left * right

    def as_array(self, factors: Tensor, n_features: int) -> Tensor:
        return factors


class Layout(ABC):
    """How one covariance structure uses a kernel."""

    kernel: Kernel

    @abstractmethod
    def spread(self, factors: Tensor, n_components: int, n_features: int) -> Tensor:
        """Return the factors of each component as the kernel takes them, (M, ...)."""

    def collect(self, second: Tensor) -> Tensor:
        """Return what the structure keeps of the kernel's second moments."""
        return second


class _Full(Layout):
    kernel = _MatrixKernel()

    def spread(self, factors: Tensor, n_components: int, n_features: int) -> Tensor:
        return factors.reshape(n_components, -1)


class _Tied(Layout):
    kernel = _MatrixKernel()

    def spread(self, factors: Tensor, n_components: int, n_features: int) -> Tensor:
        return factors.reshape(1, -1).repeat(n_components, 1)

    def collect(self, second: Tensor) -> Tensor:
        return second.sum(0)


class _Diagonal(Layout):
    kernel = _DiagonalKernel()

    def spread(self, factors: Tensor, n_components: int, n_features: int) -> Tensor:
        return factors


class _Spherical(Layout):
    kernel = _DiagonalKernel()

    def spread(self, factors: Tensor, n_components: int, n_features: int) -> Tensor:
        return factors[:, None].repeat(1, n_features)

    def collect(self, second: Tensor) -> Tensor:
        return second.sum(1)


LAYOUTS: dict[str, Layout] = {
    "full": _Full(),
    "tied": _Tied(),
    "diag": _Diagonal(),
    "spherical": _Spherical(),
}
