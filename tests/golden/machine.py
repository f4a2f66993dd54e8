"""What the last bits of a sum depend on: the processor, the compiler and versions."""

import platform
import re
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "joblib", "dask", "pykeops")
# The fastest first.
_COMPILED = ("_avx512", "_avx2", "_baseline")


def this_machine() -> dict[str, str]:
    """Return the kind of this machine and what is installed on it."""
    found = {
        "vendor": _vendor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "libraries of linear algebra": _architectures(),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    return found | _native() | {name: version(name) for name in PACKAGES}


def _vendor() -> str:
    """Return the maker of the processor: some libraries choose by it."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    line = re.search(r"^vendor_id\s*:\s*(\S+)", text, re.MULTILINE)
    return line.group(1) if line else platform.machine()


def _architectures() -> str:
    """Return for which processors those that are loaded have chosen their loops."""
    found = {
        f"{library['internal_api']} {library.get('architecture', '')}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return ", ".join(sorted(found))


def _native() -> dict[str, str]:
    """Return the compiled module that a fit takes, and what compiled it.

    Found among those loaded: it may live anywhere in the package.
    """
    try:
        KeOpsGaussianMixture(backend="native", device="cpu").fit(np.eye(3))
    except ImportError:
        return {"native": "", "compiler": ""}
    # Tests may have loaded slower ones, too.
    module = next(
        module
        for kind in _COMPILED
        for name, module in sys.modules.items()
        if name.startswith("sklearn_keops_gmm.") and name.endswith(kind)
    )
    signed = re.search(rb"GCC: \([^)]*\) [\d.]+", Path(module.__file__).read_bytes())
    compiler = signed.group().decode() if signed else ""
    return {"native": module.__name__.rpartition(".")[2], "compiler": compiler}


@contextmanager
def on_one_thread():
    """Hold all libraries, torch and dask to the calling thread."""
    import dask

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), dask.config.set(scheduler="synchronous"):
            yield
    finally:
        torch.set_num_threads(n_threads)
