"""What a fit with few candidates for each sample can be combined with."""

from __future__ import annotations

from typing import Any, Protocol

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm.backends import (
    Backend,
    Reductions,
    TruncatedBackend,
)

# The values of other parameters that it can be combined with.
_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "solver": ("em",),
    "acceleration": (None,),
    "sparsity": (0.0,),
    "moves": ("auto", False),
    "n_init": (1,),
    "init_params": ("kmeans", "random_from_data"),
    "noise": (None,),
}


class Parameters(Protocol):
    """The estimator's parameters that are read here."""

    n_components: int
    truncation: int | None


def truncated(mixture: Parameters, data: Data, name: str, backend: Backend) -> Backend:
    """Return the backend of a fit: it keeps candidates if there are to be any.

    Parameters
    ----------
    mixture : estimator
    data : Data
    name : str
        Of the backend.
    backend : Backend
        That computes all sums over pairs otherwise.

    Raises
    ------
    ValueError
        If a parameter or the backend cannot be combined with it.
    """
    if mixture.truncation is None:
        return backend
    given = f"truncation={mixture.truncation!r}"
    for parameter, accepted in _ACCEPTED.items():
        value = getattr(mixture, parameter)
        if value not in accepted:
            able = " or ".join(f"{parameter}={one!r}" for one in accepted)
            raise ValueError(
                f"{given} cannot be combined with {parameter}={value!r}. Use {able}, "
                "or truncation=None."
            )
    if name != "native":
        raise ValueError(
            f"{given} needs backend='native', which computes on the CPU, but got "
            f"backend={name!r} for samples on {data.points.device}. Use "
            "backend='native' and device='cpu', or truncation=None."
        )
    if data.component_labels is not None:
        raise ValueError(
            f"{given} cannot be combined with component_labels. Leave them out, or use "
            "truncation=None."
        )
    few = mixture.truncation < mixture.n_components
    return TruncatedBackend(mixture.truncation) if few else backend


def check_in_memory(mixture: Parameters, reductions: Reductions) -> None:
    """Raise ValueError if samples that are to have candidates are read in parts."""
    if mixture.truncation is not None and not reductions.in_memory:
        raise ValueError(
            f"truncation={mixture.truncation!r} needs samples in memory, in one array, "
            "but X is read in parts. Use an array, or truncation=None."
        )
