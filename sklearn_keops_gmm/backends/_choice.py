"""Which backend computes."""

from __future__ import annotations

import torch

from sklearn_keops_gmm._model import Structure
from sklearn_keops_gmm.backends._keops._reductions import (
    KeOpsReductions,
    check_keops_available,
)
from sklearn_keops_gmm.backends._native import (
    NativeReductions,
    check_native_available,
    native_is_available,
)
from sklearn_keops_gmm.backends._protocol import Backend
from sklearn_keops_gmm.backends._torch._reductions import TorchReductions

BACKENDS: dict[str, Backend] = {
    "keops": KeOpsReductions,
    "native": NativeReductions,
    "torch": TorchReductions,
}


def choose_backend(name: str, device: torch.device, structure: Structure) -> str:
    """Return the name of the backend that ``backend=name`` stands for.

    ``"auto"`` is native on a CPU, if the package was installed with a compiler and
    there is a kernel for the structure, and torch everywhere else.

    Raises
    ------
    ValueError
        If there is no such backend, as where it was set after a fit; or if it does not
        know the structure.
    """
    if name != "auto" and name not in BACKENDS:
        accepted = ", ".join(map(repr, BACKENDS))
        raise ValueError(
            f"The 'backend' parameter must be 'auto', {accepted}. Got {name!r} instead."
        )
    if name == "auto":
        compiled = device.type == "cpu" and native_is_available()
        known = structure in NativeReductions.structures
        name = "native" if compiled and known else "torch"
    if structure not in BACKENDS[name].structures:
        able = [other for other in BACKENDS if structure in BACKENDS[other].structures]
        raise ValueError(
            f"backend={name!r} cannot compute with covariances of structure "
            f"{structure!r}; able are: {', '.join(map(repr, able)) or 'none'}."
        )
    return name


# What raises where a backend does not work here.
_CHECKS = {"keops": check_keops_available, "native": check_native_available}


def get_backend(name: str) -> Backend:
    """Return the backend called `name`, once it is known to work here.

    Raises
    ------
    ImportError, RuntimeError
        If it is "keops" and KeOps, or a compiler for it, is missing; or if it is
        "native" and the package was installed without a compiler.
    """
    if name in _CHECKS:
        _CHECKS[name]()
    return BACKENDS[name]
