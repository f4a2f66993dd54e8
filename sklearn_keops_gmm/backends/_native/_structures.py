"""What the compiled module needs to be told of each structure, and what it sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components
from sklearn_keops_gmm.backends._openmp import single_thread
from sklearn_keops_gmm.backends._triangles import places_in_matrix


class NativeStructure(ABC):
    """Factors in the form that the loops take, and second moments from their sums."""

    def prepare(self, components: Components) -> Tensor:
        """Return factors of the same precisions that the loops can take."""
        return components.factors

    @abstractmethod
    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of second moments."""

    def moments_of_each(
        self, sums: Tensor, n_components: int, n_features: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return masses, first and second moments from sums, (S,).

        They have all of a component side by side.
        """
        of_each = sums.view(n_components, -1)
        mass, first, second = of_each.tensor_split((1, 1 + n_features), 1)
        return mass[:, 0], first, self._second(second, n_features)

    @abstractmethod
    def _second(self, sums: Tensor, n_features: int) -> Tensor:
        """Return second moments from those sums of each component, (M, S)."""


class _Full(NativeStructure):
    """Upper triangles."""

    def prepare(self, components: Components) -> Tensor:
        factors = components.factors
        if components.triangular or not factors.tril(-1).any():
            return factors
        # Of A A^T = U U^T, by a QR decomposition with rows and columns reversed.
        with single_thread():
            lower = torch.linalg.qr(factors.flip(-2).mT, mode="r").R.mT
            return lower.flip(-2, -1)

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features, n_features

    def _second(self, sums: Tensor, n_features: int) -> Tensor:
        entries = sums.index_select(1, _entries(n_features))
        return entries.view(-1, n_features, n_features)


class _Tied(_Full):
    """An upper triangle, and one second moment."""

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_features, n_features

    def moments_of_each(
        self, sums: Tensor, n_components: int, n_features: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        mass, first, second = super().moments_of_each(sums, n_components, n_features)
        return mass, first, second.sum(0)


class _Diagonal(NativeStructure):
    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features

    def _second(self, sums: Tensor, n_features: int) -> Tensor:
        return sums


class _Spherical(NativeStructure):
    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def _second(self, sums: Tensor, n_features: int) -> Tensor:
        return sums[:, 0]


# By the names that the compiled module has for them.
NATIVE_STRUCTURES: dict[str, NativeStructure] = {
    "full": _Full(),
    "tied": _Tied(),
    "diag": _Diagonal(),
    "spherical": _Spherical(),
}
# Those whose factors are matrices.
MATRICES = ("full", "tied")


@cache
def _entries(n_features: int) -> Tensor:
    """Return where in its upper triangle each entry of a matrix is found."""
    rows, columns = torch.triu_indices(n_features, n_features)
    return places_in_matrix(rows, columns, n_features)
