"""The folder in which KeOps keeps what it has compiled: safe to use, and one at a time.

KeOps hands its name to a shell, unpickles files that it finds there, and loads others
as code. So it has to be a folder of the user's own, with a plain name.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sklearn_keops_gmm.backends._warnings import warn_user

# What means something else to a shell than itself.
_SPECIAL = re.compile(r"""[\s$`"'\\;&|<>()*?\[\]{}!#~^]""")
# Seconds until a process says that it waits.
_PATIENCE = 10.0
_POLL = 0.05

_REMEDY = (
    "Set the environment variable KEOPS_CACHE_FOLDER to another folder before Python "
    "starts, or use backend='torch'."
)
_WAITING = (
    "KeOps' cache is locked by {holder}, which compiles a formula, or has stopped: "
    "waiting for it, as long as it takes. The lock is {path}."
)


def check_cache() -> None:
    """Check the folders that KeOps is going to use, before it is imported.

    Raises
    ------
    RuntimeError
        If their names would not survive a shell, or others can change what is in them.
    """
    folder = cache_folder()
    check_folder(folder)
    # KeOps names its own folder in there by the machine and the version of Python.
    for path in folder.glob(f"*_p{platform.python_version()}*"):
        check_folder(path)


def cache_folder() -> Path:
    """Return the folder of all that KeOps keeps."""
    given = os.environ.get("KEOPS_CACHE_FOLDER")
    if given:
        return Path(given)
    with suppress(PackageNotFoundError):
        return Path.home() / ".cache" / f"keops{version('keopscore')}"
    return Path.home() / ".cache"


def check_folder(folder: Path) -> None:
    """Check one folder, if it is there, and the files in it.

    Raises
    ------
    RuntimeError
        As `check_cache`.
    """
    if os.name != "posix":
        return
    if _SPECIAL.search(str(folder)):
        raise RuntimeError(
            f"KeOps' cache is the folder {str(folder)!r}, whose name has spaces or "
            f"other characters that KeOps hands to a shell as they are. {_REMEDY}"
        )
    # An entry goes away where another process replaces it.
    with suppress(FileNotFoundError, NotADirectoryError):
        _check_owner(folder, folder.stat(), shared=stat.S_ISVTX)
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    _check_owner(Path(entry.path), entry.stat(follow_symlinks=False))


def _check_owner(path: Path, found: os.stat_result, shared: int = 0) -> None:
    """Raise RuntimeError if others can write there, unless a bit in `shared` is set."""
    mine = found.st_uid in (os.geteuid(), 0)
    writable = found.st_mode & stat.S_IWOTH or (
        found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid)
    )
    if stat.S_ISLNK(found.st_mode):
        writable = False  # of a link the mode means nothing
    if mine and (not writable or found.st_mode & shared):
        return
    what = "belongs to another user" if not mine else "can be written by other users"
    raise RuntimeError(
        f"KeOps' cache has {str(path)!r}, which {what}, and KeOps runs what it finds "
        f"there. Take it over, and the right to write from all others: chmod go-w. "
        f"{_REMEDY}"
    )


def _is_private(group: int) -> bool:
    """Tell whether a group is that of one user alone, as many systems give each."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


# -- one process at a time -------------------------------------------------------------


@contextmanager
def alone_among_processes() -> Iterator[None]:
    """Keep other processes out of KeOps' folder."""
    path = _lock_path()
    descriptor = _open_lock_file(path)
    if descriptor is None:
        yield
        return
    _lock(descriptor, path)
    try:
        yield
    finally:
        # Closing is not enough: a forked child may share the descriptor.
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock_path() -> Path:
    given = os.environ.get("KEOPS_CACHE_FOLDER")
    folder = Path(given) if given else Path.home() / ".cache"
    return folder / "sklearn-keops-gmm.lock"


def _open_lock_file(path: Path) -> int | None:
    """Return a descriptor of the file to lock; None where nothing can be written.

    Raises
    ------
    RuntimeError
        If it is a link, or no file: what it leads to would be locked, or overwritten.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise _no_plain_file(path) from error
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_plain_file(path)
    return descriptor


def _no_plain_file(path: Path) -> RuntimeError:
    return RuntimeError(
        f"The lock of KeOps' cache, {str(path)!r}, is a link or no file. Remove it. "
        f"{_REMEDY}"
    )


def _lock(descriptor: int, path: Path) -> None:
    """Wait until the lock is ours, and say so if that takes long."""
    # Windows has no fcntl, some network file systems have no locks.
    with suppress(ImportError, OSError):
        import fcntl

        limit = time.monotonic() + _PATIENCE
        while not _try_to_lock(descriptor):
            if time.monotonic() > limit:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace")
                message = _WAITING.format(holder=holder or "a process", path=path)
                warn_user(message)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                break
            time.sleep(_POLL)
        os.ftruncate(descriptor, 0)
        own = f"process {os.getpid()} on {platform.node()}, {sys.executable}"
        os.pwrite(descriptor, own.encode(errors="replace"), 0)


def _try_to_lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
