"""Which backend computes."""

from __future__ import annotations

import torch

from sklearn_keops_gmm.backends._keops import (
    KeOpsReductions,
    check_keops_available,
    keops_has_cuda,
)
from sklearn_keops_gmm.backends._native import (
    NativeReductions,
    check_native_available,
    native_is_available,
)
from sklearn_keops_gmm.backends._protocol import Backend
from sklearn_keops_gmm.backends._torch import TorchReductions

BACKENDS: dict[str, Backend] = {
    "keops": KeOpsReductions,
    "native": NativeReductions,
    "torch": TorchReductions,
}

# KeOps keeps a component's numbers in registers: many features spill.
_KEOPS_MAX_FEATURES = 8


def choose_backend(name: str, device: torch.device, n_features: int) -> str:
    """Return the name of the backend that ``backend=name`` stands for.

    ``"auto"`` is native on a CPU, or torch where the package was installed without a
    compiler. On CUDA it is KeOps where that has CUDA and there are at most 8
    features, else torch.
    """
    if name != "auto":
        return name
    if device.type == "cpu":
        return "native" if native_is_available() else "torch"
    small = n_features <= _KEOPS_MAX_FEATURES
    return "keops" if device.type == "cuda" and small and keops_has_cuda() else "torch"


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
