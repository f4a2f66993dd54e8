"""How torch computes with each structure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from sklearn_keops_gmm._model import Components, Moments
from sklearn_keops_gmm.backends._torch._direct import (
    DiagonalDirect,
    Direct,
    FullDirect,
    SphericalDirect,
)
from sklearn_keops_gmm.backends._torch._expanded import (
    DiagonalExpansion,
    Expansion,
    FullExpansion,
    SphericalExpansion,
)


@dataclass(frozen=True)
class TorchStructure:
    """The two forms of a structure's quadratic forms, and what may be done to it.

    Attributes
    ----------
    expansion : Expansion
    direct : Direct
    whitens : bool, default=False
        Whether factors and second moments are matrices, (D, D) for each component,
        that can be taken to another basis.
    shared : bool, default=False
        Whether there is one factor for all components, and one second moment.
    """

    expansion: Expansion
    direct: Direct
    whitens: bool = False
    shared: bool = False

    def of_each(self, components: Components) -> Components:
        """Return the same components, each with a factor of its own."""
        if not self.shared:
            return components
        one: Tensor = components.factors
        each = one.expand(len(components.offsets), *one.shape)
        return replace(components, factors=each)

    def collected(self, moments: Moments) -> Moments:
        """Return moments of which each component has its own as they are asked for."""
        if not self.shared:
            return moments
        return replace(moments, second=moments.second.sum(0))


_FULL = FullExpansion(), FullDirect()

TORCH_STRUCTURES: dict[str, TorchStructure] = {
    "full": TorchStructure(*_FULL, whitens=True),
    "tied": TorchStructure(*_FULL, whitens=True, shared=True),
    "diag": TorchStructure(DiagonalExpansion(), DiagonalDirect()),
    "spherical": TorchStructure(SphericalExpansion(), SphericalDirect()),
}


def structure_of(components: Components) -> TorchStructure:
    """Return how to compute with some components."""
    return TORCH_STRUCTURES[components.structure]
