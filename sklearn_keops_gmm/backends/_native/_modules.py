"""The compiled module for this processor."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import torch

# What torch calls the capability of a processor, and the modules for it.
_MODULES = {
    "AVX512": ("_avx512", "_avx2", "_baseline"),
    "AVX2": ("_avx2", "_baseline"),
}


def modules_for_this_processor() -> tuple[str, ...]:
    """Return the names of modules that it can run, the fastest first."""
    capability = torch.backends.cpu.get_cpu_capability()
    return _MODULES.get(capability, ("_baseline",))


@cache
def native_module() -> ModuleType | None:
    """Return the fastest module, or None if none was compiled.

    Raises
    ------
    ImportError
        If there is one that does not load.
    """
    for name in modules_for_this_processor():
        try:
            return import_module(f"{__package__}.{name}")
        except ModuleNotFoundError:
            continue
    return None


def native_is_available() -> bool:
    """Tell whether the package was installed with a compiled module."""
    return native_module() is not None


def check_native_available() -> None:
    """Raise if there is no compiled module.

    Raises
    ------
    ImportError
        If the package was installed where no C++ compiler was found.
    """
    if not native_is_available():
        raise ImportError(
            "backend='native' needs modules that are compiled when sklearn-keops-gmm "
            "is installed, and there are none. Install a C++ compiler and then the "
            "package once more, with pip's --force-reinstall --no-deps --no-cache-dir "
            "(pip would install the wheel that it has kept), or use backend='torch' "
            "or backend='auto'."
        )
