"""KeOps' folder: what its name, its owner, its mode and its lock may be."""

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from sklearn_keops_gmm.backends._keops import _cache as cache

BUILD = f"Linux_here_6.1_p{sys.version.split(' ')[0]}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of the user's own, where KeOps is to keep things."""
    found = tmp_path / "keops"
    found.mkdir(mode=0o755)
    found.chmod(0o755)
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(found))
    return found


@pytest.fixture
def build(folder):
    """KeOps' own folder in there, with a file that it would unpickle."""
    found = folder / BUILD
    found.mkdir()
    found.chmod(0o755)
    (found / "formulas_cache.pkl").write_bytes(b"")
    (found / "formulas_cache.pkl").chmod(0o644)
    return found


def test_a_folder_of_ones_own(build):
    cache.check_cache()
    cache.check_folder(build)
    assert cache.cache_folder() == build.parent


def test_no_folder_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path / "none" / "yet"))
    cache.check_cache()


def test_the_default_folder(tmp_path, monkeypatch):
    pytest.importorskip("keopscore")
    monkeypatch.delenv("KEOPS_CACHE_FOLDER")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder().parent == tmp_path / ".cache"
    cache.cache_folder().mkdir(parents=True)
    cache.cache_folder().chmod(0o777)
    with pytest.raises(RuntimeError, match=r"keops[\d.]+', which can be written by"):
        cache.check_cache()


@pytest.mark.parametrize(
    "name", ["a b", "$(touch ran)", "`touch ran`", "a;b", "'", "~"]
)
def test_names_that_a_shell_reads(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path / name))
    with pytest.raises(RuntimeError, match=r"hands to a shell.*KEOPS_CACHE_FOLDER"):
        cache.check_cache()


@pytest.mark.parametrize("name", ["plain", "with-signs_of.1,@%+=:", "größe"])
def test_names_that_it_does_not(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path / name))
    cache.check_cache()


@pytest.mark.slow
def test_nothing_runs(tmp_path):
    """A fit ends with the error before KeOps is even imported."""
    code = """
import sys
from sklearn_keops_gmm import KeOpsGaussianMixture
try:
    KeOpsGaussianMixture(backend="keops").fit([[0.0], [1.0]])
except RuntimeError as error:
    print(error)
assert "pykeops" not in sys.modules
"""
    given = {"KEOPS_CACHE_FOLDER": str(tmp_path / "$(touch ran) cache")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | given,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hands to a shell" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o757, 0o777])
@pytest.mark.parametrize("place", ["folder", "build", "file"])
def test_others_can_write(mode, place, build):
    path = {"folder": build.parent, "build": build, "file": next(build.iterdir())}
    path[place].chmod(mode)
    with pytest.raises(RuntimeError, match=r"can be written by other users.*go-w"):
        cache.check_cache()


@pytest.mark.parametrize("private", [True, False])
def test_a_group_can_write(private, build, monkeypatch):
    """A group of the user alone is nobody else; that of a team is."""
    monkeypatch.setattr(cache, "_is_private", lambda group: private)
    build.chmod(0o775)
    if private:
        cache.check_cache()
        return
    with pytest.raises(RuntimeError, match="can be written by other users"):
        cache.check_cache()


def test_groups(monkeypatch):
    import grp
    import pwd
    from types import SimpleNamespace

    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="ada"))

    def group(name, *members):
        found = SimpleNamespace(gr_name=name, gr_mem=list(members))
        monkeypatch.setattr(grp, "getgrgid", lambda _: found)
        return cache._is_private(1)

    assert group("ada")
    assert group("ada", "ada")
    assert not group("ada", "bob")
    assert not group("staff")


@pytest.mark.parametrize("place", ["folder", "build", "file"])
def test_of_another_user(place, build, monkeypatch):
    path = {"folder": build.parent, "build": build, "file": next(build.iterdir())}
    if os.geteuid() == 0:
        os.chown(path[place], 4321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(RuntimeError, match=r"belongs to another user.*KEOPS_CACHE"):
        cache.check_cache()


def test_a_folder_for_all_as_tmp(build):
    """There nobody can replace what is another's; what is in ours has to be ours."""
    build.parent.chmod(0o1777)
    cache.check_cache()
    build.chmod(0o1777)
    with pytest.raises(RuntimeError, match="can be written by other users"):
        cache.check_cache()


@pytest.mark.parametrize("kind", ["link", "broken link", "folder", "pipe"])
def test_a_lock_that_is_no_file(kind, folder):
    lock, target = folder / "sklearn-keops-gmm.lock", folder / "precious"
    if kind == "link":
        target.write_text("kept")
    if kind in ("link", "broken link"):
        lock.symlink_to(target)
    elif kind == "folder":
        lock.mkdir()
    else:
        os.mkfifo(lock)
    with (
        pytest.raises(RuntimeError, match=r"lock of KeOps' cache.* is a link or no"),
        cache.alone_among_processes(),
    ):
        pass
    if kind == "link":
        assert target.read_text() == "kept"
    assert target.exists() == (kind == "link")


def test_the_lock_says_whose_it_is(folder):
    with cache.alone_among_processes():
        text = (folder / "sklearn-keops-gmm.lock").read_text()
    assert text.startswith(f"process {os.getpid()} on ")


def test_who_is_waited_for(folder, monkeypatch):
    """After a while, once; a short wait is nothing to talk about."""
    monkeypatch.setattr(cache, "_PATIENCE", 0.2)
    lock = folder / "sklearn-keops-gmm.lock"
    lock.write_text("process 17 on elsewhere")
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(1.0, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        with (
            pytest.warns(UserWarning, match=r"locked by process 17 on elsewhere.*lock"),
            cache.alone_among_processes(),
        ):
            pass
        timer.join()


@pytest.mark.filterwarnings("error")
def test_a_short_wait(folder):
    with open(folder / "sklearn-keops-gmm.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        with cache.alone_among_processes():
            pass
        timer.join()


def test_nowhere_to_write(tmp_path, monkeypatch):
    """Without a lock then, as before: KeOps says itself what it cannot do."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path / "file" / "cache"))
    with cache.alone_among_processes():
        pass
