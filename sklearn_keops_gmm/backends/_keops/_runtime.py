"""KeOps made safe to call: imported late, silent, locked while it compiles.

The only file that imports `pykeops`. KeOps writes, compiles and loads one shared
library per formula, number of features and dtype, in a folder that all processes
share and without any lock of its own. Here the first use of each formula is
exclusive among processes. Threads take turns at every use: KeOps keeps the pointers
of a call in objects that all threads share, and holds the GIL while it computes.
"""

from __future__ import annotations

import atexit
import os
import pickle
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from sklearn_keops_gmm.backends._keops._cache import (
    alone_among_processes,
    check_cache,
    check_folder,
)
from sklearn_keops_gmm.backends._openmp import all_threads
from sklearn_keops_gmm.backends._warnings import warn_user

_NO_COMPILER = (
    "backend='keops' needs a C++ compiler, and none was found. Install g++ "
    "(Debian, Ubuntu: 'apt install g++'; conda: 'conda install cxx-compiler'; "
    "macOS: 'xcode-select --install') or set the environment variable CXX to "
    "another compiler before Python starts, or use backend='torch'."
)
_NO_PYKEOPS = (
    "backend='keops' needs the package pykeops. Install it with "
    "'pip install pykeops', or use backend='torch'."
)
_NO_CUDA = (
    "backend='keops' found no CUDA that it can use, and the data are on {device}. It "
    "needs the CUDA toolkit (libraries nvrtc and cudart, and the header cuda.h) beside "
    "the driver. Use backend='torch', or device='cpu'."
)
_COMPILING = (
    "KeOps compiles its formulas at their first use with each number of features "
    "and each dtype: about 10 seconds for each of the two formulas of a fit. They "
    "are kept for the next time in {folder}. backend='torch' needs no compilation."
)
_FAILED = (
    "KeOps could not compile a formula. Check the C++ compiler (environment variables "
    "CXX and CXXFLAGS), or use backend='torch'. The compiler said:\n{output}"
)


@dataclass(frozen=True)
class Formula:
    """A reduction in KeOps' own language.

    Attributes
    ----------
    expression : str
        The term of each pair, in KeOps' syntax.
    variables : tuple of str
        What each argument is, such as ``"x=Vi(2)"``.
    reduction : {"LogSumExp", "Sum"}
    axis : {0, 1}
        The index that is summed over: 0 for i, 1 for j.
    accumulate_in_float64 : bool
    """

    expression: str
    variables: tuple[str, ...]
    reduction: str
    axis: int
    accumulate_in_float64: bool = False


def check_keops_available(device: torch.device | None = None) -> None:
    """Raise an error that says what to install if KeOps cannot work here.

    Raises
    ------
    ImportError
        If `pykeops` is not installed.
    RuntimeError
        If there is no C++ compiler, or the device is a GPU and KeOps found no CUDA.
    """
    if _pykeops().config.pykeops_base.get_cxx_compiler() is None:
        raise RuntimeError(_NO_COMPILER)
    if device is not None and device.type != "cpu" and not _has_cuda():
        raise RuntimeError(_NO_CUDA.format(device=device))


def _has_cuda() -> bool:
    """Return whether KeOps can compute on a CUDA device."""
    config = _pykeops().config
    # It finds a GPU also where its own code for it could not be compiled.
    return config.gpu_available and os.path.exists(config.pykeops_nvrtc_name("target"))


def reduce_pairs(formula: Formula, arguments: tuple[Tensor, ...]) -> Tensor:
    """Return the reduction of a formula over all pairs, on the arguments' device.

    Parameters
    ----------
    formula : Formula
    arguments : tuple of contiguous 2d Tensors of one dtype, one per variable

    Returns
    -------
    Tensor, in the dtype of the arguments
    """
    scheme = _scheme(formula, arguments[0].device)
    genred = _genred(formula, scheme)
    folder = _pykeops().get_build_folder()
    use = (formula, scheme, arguments[0].dtype, arguments[0].device, folder)
    with _thread_lock, _current(arguments[0].device), all_threads():
        if use not in _compiled:
            # One row of each argument is enough to compile: other processes need
            # not wait until the data are reduced.
            check_folder(Path(folder))
            rows = tuple(argument[:1] for argument in arguments)
            _compile(lambda: genred(*rows, backend=scheme))
            _compiled.add(use)
        return genred(*arguments, backend=scheme)


@contextmanager
def _current(device: torch.device) -> Iterator[None]:
    """Let a device be torch's current one, all that was asked of it done.

    KeOps leaves it current that it computed on, and knows no stream but the first.
    """
    if device.type != "cuda":
        yield
        return
    torch.cuda.current_stream(device).synchronize()
    with torch.cuda.device(device):
        yield


def _scheme(formula: Formula, device: torch.device) -> str:
    """Return KeOps' name of how to spread a reduction over the device."""
    if device.type != "cuda":
        return "CPU"
    # A sum over samples has few outputs: one thread for each would leave the
    # device idle, so that the samples must be shared out as well.
    return "GPU_2D" if formula.axis == 0 else "GPU_1D"


@cache
def _genred(formula: Formula, scheme: str) -> Callable[..., Tensor]:
    """Return the callable of a formula; nothing is compiled before its first call."""
    options: dict[str, Any] = {}
    if formula.accumulate_in_float64:
        options["dtype_acc"] = "float64"
        # Every term goes straight to the float64 accumulator, but GPU_2D is only
        # written for block sums: those of 192 terms are in the dtype of the data.
        options["sum_scheme"] = "block_sum" if scheme == "GPU_2D" else "direct_sum"
    _pykeops()
    from pykeops.torch import Genred

    return Genred(
        formula.expression,
        list(formula.variables),
        reduction_op=formula.reduction,
        axis=formula.axis,
        use_fast_math=False,
        **options,
    )


# --- first uses -----------------------------------------------------------------

_compiled: set[tuple[Any, ...]] = set()
_thread_lock = threading.Lock()
_announced = False


def _renew_lock() -> None:
    global _thread_lock
    _thread_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # The thread that holds the lock does not exist in a forked child.
    os.register_at_fork(after_in_child=_renew_lock)


def _compile(call: Callable[[], object]) -> None:
    """Make the first call of a formula: alone, silently, and with errors seen."""
    with alone_among_processes(), _silent(), _watched_compiler():
        try:
            call()
        except (ImportError, FileNotFoundError) as error:
            _remove_leftovers(error)
            call()


@contextmanager
def _silent() -> Iterator[None]:
    """Turn off KeOps' messages, then leave its verbosity as the user set it."""
    modules = [_pykeops(), _pykeops().keopscore]
    found = [module.verbose for module in modules]
    for module in modules:
        module.verbose = False
    try:
        yield
    finally:
        for module, verbose in zip(modules, found, strict=True):
            module.verbose = verbose


@contextmanager
def _watched_compiler() -> Iterator[None]:
    """Run KeOps' compiler commands ourselves: it neither warns nor sees failures."""
    from pykeops.common.keops_io import LoadKeOps_cpp as loader

    original = loader.KeOps_OS_Run
    loader.KeOps_OS_Run = _run_compiler
    try:
        yield
    finally:
        loader.KeOps_OS_Run = original


def _run_compiler(command: str) -> None:
    """Run a command whose result appears at once, or not at all."""
    _announce()
    command, option, target = command.rpartition(" -o ")
    if not option:
        command, target = target, ""
    part = f"{target}.part" if target else ""
    # A shell, since KeOps' command holds a substitution.
    done = subprocess.run(
        f"{command}{option}{part}", shell=True, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(_FAILED.format(output=done.stderr[-2000:]))
    if part:
        # Loading half a library, of a process that was killed, would be fatal.
        os.replace(part, target)


def _announce() -> None:
    """Say once per process that compiling takes time."""
    global _announced
    if _announced:
        return
    _announced = True
    folder = _pykeops().get_build_folder()
    warn_user(_COMPILING.format(folder=folder))


def _remove_leftovers(error: ImportError | FileNotFoundError) -> None:
    """Remove the files of a compilation that was killed, for KeOps to start afresh."""
    named = error.path if isinstance(error, ImportError) else error.filename
    broken = Path(named or "")
    if str(broken.parent) != _pykeops().get_build_folder():
        raise error
    # KeOps writes the description of a formula last: after its source, or the code
    # for a GPU.
    sources = (f"{broken.stem}.cpp", f"cubin_{broken.stem}", f"ptx_{broken.stem}")
    leftovers = sources if broken.suffix == ".nfo" else (broken.name,)
    for name in leftovers:
        (broken.parent / name).unlink(missing_ok=True)


# --- import ---------------------------------------------------------------------


@cache
def _pykeops() -> ModuleType:
    """Import pykeops, leaving its verbosity and the environment as found."""
    check_cache()
    with _thread_lock, alone_among_processes():
        found = sys.modules.get("pykeops")
        with _environment_of_import():
            pykeops = _import_pykeops()
        if found is None:
            pykeops.set_verbose(_user_wants_messages())
        _save_caches_safely(pykeops)
    return pykeops


def _import_pykeops() -> ModuleType:
    """Import pykeops, without the caches it saved if these are broken."""
    try:
        import pykeops
    except ModuleNotFoundError as error:
        if error.name not in ("pykeops", "keopscore"):
            raise
        raise ImportError(_NO_PYKEOPS) from error
    except (EOFError, pickle.UnpicklingError):
        # Read while another process, not one of ours, was writing.
        folder = import_module("keopscore.config").config.get_build_folder()
        for saved in Path(folder).glob("*_cache.pkl"):
            saved.unlink(missing_ok=True)
        # Modules that were imported would not be found again in the new package.
        for name in [name for name in sys.modules if name.startswith("pykeops.")]:
            del sys.modules[name]
        import pykeops
    return pykeops


@contextmanager
def _environment_of_import() -> Iterator[None]:
    """Ask for silence and for fast code in the only way that KeOps understands.

    It reads the environment while it is imported, and never again.
    """
    asked = {"PYKEOPS_VERBOSE": "0", "KEOPS_VERBOSE": "0"}
    # The user's flags are the user's, even where there are none. All compilers know
    # the native processor on this architecture.
    if "CXXFLAGS" not in os.environ and platform.machine() in ("x86_64", "AMD64"):
        asked["CXXFLAGS"] = "-march=native"
    found = {name: os.environ.get(name) for name in asked}
    os.environ.update(asked)
    try:
        yield
    finally:
        for name, value in found.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _user_wants_messages() -> bool:
    names = ("PYKEOPS_VERBOSE", "KEOPS_VERBOSE")
    return all(os.environ.get(name) != "0" for name in names)


def _save_caches_safely(pykeops: ModuleType) -> None:
    """Make what KeOps saves at exit appear at once, never half-written."""
    saved = list(pykeops.common.keops_io.keops_binder.values())
    saved.append(import_module("keopscore.get_keops_dll").get_keops_dll)
    for one in saved:
        atexit.unregister(one.save_cache)
        atexit.register(_save_at_once, one)


def _save_at_once(saved: Any) -> None:
    target = saved.cache_file
    saved.cache_file = f"{target}.{os.getpid()}"
    # A cache that cannot be saved, in a read-only folder say, is only slower.
    with suppress(OSError):
        saved.save_cache()
        os.replace(saved.cache_file, target)
