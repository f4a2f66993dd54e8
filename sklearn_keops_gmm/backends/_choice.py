"""Which backend computes."""

from __future__ import annotations

import torch

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


def choose_backend(name: str, device: torch.device) -> str:
    """Return the name of the backend that ``backend=name`` stands for.

    ``"auto"`` is native on a CPU, if the package was installed with a compiler, and
    torch everywhere else.
    """
    if name != "auto":
        return name
    return "native" if device.type == "cpu" and native_is_available() else "torch"


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
