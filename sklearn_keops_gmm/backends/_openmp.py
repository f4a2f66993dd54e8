"""How many threads OpenMP takes where we are called: one, and that nowhere else.

`torch.set_num_threads` sets two things: the number of the thread that calls it, and
the number that each other thread takes when it first asks, and keeps. So OpenMP and
MKL, whose numbers are those of one thread, are set themselves.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm.backends._workspace import memory_errors


class _Before(NamedTuple):
    """Numbers of threads before they were held to 1: torch's, and MKL's, 0 for none."""

    threads: int
    mkl: int


_held = threading.local()


def budget() -> int:
    """Return the number of threads that torch has here, or had before it was held."""
    before: _Before | None = getattr(_held, "before", None)
    return torch.get_num_threads() if before is None else before.threads


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold torch's own threads to one in the calling thread; tiles keep theirs.

    Small products and factorisations gain nothing from a second thread, and lose
    milliseconds at each where other processes keep the cores busy. And a forked child
    may take no other: OpenMP waits for ever for the threads of its parent. So all
    that users call runs in here, and what torch raises where memory runs out is made
    Python's own error here, too.
    """
    if getattr(_held, "before", None) is not None:
        yield
        return
    _held.before = before = _hold()
    try:
        with memory_errors():
            yield
    finally:
        _give_back(before)
        _held.before = None


def hold_for_ever() -> None:
    """Hold the calling thread, one of our own, until its end."""
    _hold()
    _held.before = _Before(1, 1)


@contextmanager
def all_threads() -> Iterator[None]:
    """Give the threads back for a while, to code that shares out a large sum itself.

    But not in a forked child, which may take no more than one.
    """
    before = getattr(_held, "before", None)
    if before is None or _forked:
        yield
        return
    _give_back(before)
    try:
        yield
    finally:
        _hold()


@contextmanager
def openmp_of_others() -> Iterator[None]:
    """Hold the OpenMP of other packages to one thread, in a forked child alone.

    Theirs would wait for the threads of the parent, too.
    """
    if not _forked:
        yield
        return
    with threadpool_limits(1, user_api="openmp"):
        yield


_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


# -- numbers of one thread -------------------------------------------------------------


def _hold() -> _Before:
    """Let torch take one thread where the caller runs; return what to give back."""
    # A thread's first question makes it take torch's number: it has to come first.
    threads = torch.get_num_threads()
    return _Before(threads, _set(1, 1))


def _give_back(before: _Before) -> None:
    _set(*before)


def _set(threads: int, mkl: int) -> int:
    """Set the numbers of the calling thread, and return that of MKL until now."""
    libraries = _libraries()
    if libraries is not None:
        libraries.set_openmp(threads)
        return libraries.set_mkl(mkl)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return 0


class _Libraries(NamedTuple):
    """Functions of the very libraries that torch calls."""

    set_openmp: Callable[[int], None]
    set_mkl: Callable[[int], int]


@cache
def _libraries() -> _Libraries | None:
    """Return them, or None where they are not found: torch has to be set, then."""
    try:
        # What this module was linked to is searched as well. Python's lock is kept,
        # as to get it back could take longer than all else.
        linked = ctypes.PyDLL(torch._C.__file__)
        set_openmp: Any = linked.omp_set_num_threads
        set_mkl: Any = _no_mkl
        if torch.backends.mkl.is_available():
            set_mkl = linked.MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):
        return None
    set_openmp.argtypes, set_openmp.restype = [ctypes.c_int], None
    return _Libraries(set_openmp, set_mkl) if _obeyed(set_openmp) else None


def _obeyed(set_openmp: Callable[[int], None]) -> bool:
    """Tell whether torch follows: it may call another OpenMP, loaded before its own."""
    before = torch.get_num_threads()
    other = 2 if before == 1 else 1
    set_openmp(other)
    follows = torch.get_num_threads() == other
    set_openmp(before)
    return follows


def _no_mkl(threads: int) -> int:
    return 0
