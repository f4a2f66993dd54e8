"""The compiled module for this processor."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from sklearn.exceptions import EfficiencyWarning

from sklearn_keops_gmm.backends._warnings import warn_user

# What torch calls the capability of a processor, and the modules for it.
_MODULES = {
    "AVX512": ("_avx512", "_avx2", "_baseline"),
    "AVX2": ("_avx2", "_baseline"),
}

_REINSTALL = (
    "Install a C++ compiler and then the package once more, with pip's "
    "--force-reinstall --no-deps --no-cache-dir (pip would install the wheel that it "
    "has kept)."
)


def modules_for_this_processor() -> tuple[str, ...]:
    """Return the names of modules that it can run, the fastest first."""
    capability = torch.backends.cpu.get_cpu_capability()
    return _MODULES.get(capability, ("_baseline",))


@cache
def _search() -> tuple[ModuleType | None, ImportError | None]:
    """Return the fastest module that loads, and why one that is faster does not."""
    failure = None
    for name in modules_for_this_processor():
        try:
            return import_module(f"{__package__}.{name}"), failure
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            failure = error
            warn_user(
                f"A compiled module of sklearn-keops-gmm does not load: {error}. What "
                f"takes its place is slower. {_REINSTALL}",
                EfficiencyWarning,
            )
    return None, failure


def native_module() -> ModuleType | None:
    """Return the fastest module, or None if none was compiled or none loads.

    Warns
    -----
    EfficiencyWarning
        Once, if there is one that does not load.
    """
    return _search()[0]


def native_is_available() -> bool:
    """Tell whether there is a compiled module that loads."""
    return native_module() is not None


def check_native_available() -> None:
    """Raise if there is no compiled module.

    Raises
    ------
    ImportError
        If the package was installed where no C++ compiler was found, or what was
        compiled does not load.
    """
    module, failure = _search()
    if module is None:
        found = "there are none" if failure is None else f"they do not load: {failure}"
        raise ImportError(
            "backend='native' needs modules that are compiled when sklearn-keops-gmm "
            f"is installed, and {found}. {_REINSTALL} Or use backend='torch' or "
            "backend='auto'."
        ) from failure
