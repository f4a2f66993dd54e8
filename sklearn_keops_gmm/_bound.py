"""Data and a mixture, ready for what is asked of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from sklearn_keops_gmm._arrays import ArrayKind
from sklearn_keops_gmm._parameters import Components, Frame
from sklearn_keops_gmm.backends import Backend, Reductions


@dataclass(frozen=True)
class Bound:
    """Data for a backend, components to ask it about, and the kind of the answer."""

    kind: ArrayKind
    points: Tensor
    backend: Backend
    frame: Frame
    components: Components

    @property
    def reductions(self) -> Reductions:
        """The sums over all pairs."""
        return self.backend(self.points, None, self.frame)

    def of_rows(self, rows: slice) -> Bound:
        """Return the same for some of the points."""
        return replace(self, points=self.points[rows])
