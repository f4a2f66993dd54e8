"""Which samples are likely enough under some components."""

from __future__ import annotations

from typing import Protocol, TypeGuard

from torch import Tensor

from sklearn_keops_gmm._model import Components
from sklearn_keops_gmm.backends._protocol import Reductions


class Selective(Protocol):
    """Reductions that find likely samples without a look at all others."""

    def rows_above(
        self, components: Components, floors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the rows whose log-density is above floors, (N,), and it."""


def rows_above(
    reductions: Reductions, components: Components, floors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the rows that are likely enough under some components.

    Parameters
    ----------
    reductions : Reductions
        Over rows that are held.
    components : Components
    floors : Tensor of shape (N,), float64
        What log-densities have to be above.

    Returns
    -------
    rows : Tensor of shape (n,), int64
        In any order.
    log_densities : Tensor of shape (n,), float64
    """
    if _is_selective(reductions):
        rows, found = reductions.rows_above(components, floors)
        return rows, found.double()
    return select_above(reductions.log_density(components).double(), floors)


def _is_selective(reductions: Reductions) -> TypeGuard[Selective]:
    """Tell it of reductions; `isinstance` would take as long as sums over few rows."""
    return hasattr(reductions, "rows_above")


def select_above(log_densities: Tensor, floors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows whose log-densities, (N,), are above floors, (N,), and these."""
    rows = (log_densities > floors).nonzero()[:, 0]
    return rows, log_densities[rows]
