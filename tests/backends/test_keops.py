"""What is particular to KeOps: that it is late, silent, locked and announced."""

import fcntl
import os
import pickle
import platform
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_keops_gmm.backends._keops import _runtime as runtime
from tests.backends.cases import assert_same_moments, make_case
from tests.backends.test_keops_reductions import answer

pytestmark = pytest.mark.filterwarnings("ignore:KeOps compiles:UserWarning")

PREAMBLE = """
import os, sys, warnings
import torch
from sklearn_keops_gmm._model._parameters import Components, Frame
from sklearn_keops_gmm.backends._keops._reductions import *

def log_density(n_features=1):
    options = {"dtype": torch.float64}
    points = torch.arange(5.0 * n_features, **options).reshape(5, n_features)
    ones = torch.ones(1, n_features, **options)
    components = Components("diag", torch.zeros(1, **options), 0 * ones, ones)
    frame = Frame(torch.zeros(n_features, **options))
    found = KeOpsReductions(points, None, frame).log_density(components)
    assert torch.allclose(found, -0.5 * points.square().sum(1)), found
"""


def start(code, *options, folder=None, **environment):
    """Start a fresh Python, with its own cache folder and settings."""
    names = ("PYKEOPS_VERBOSE", "KEOPS_VERBOSE", "CXX", "CXXFLAGS")
    inherited = {k: v for k, v in os.environ.items() if k not in names}
    if folder is not None:
        inherited["KEOPS_CACHE_FOLDER"] = str(folder)
    return subprocess.Popen(
        [sys.executable, *options, "-c", PREAMBLE + code],
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process):
    stdout, stderr = process.communicate(timeout=600)
    return process.returncode, stdout, stderr


def run(code, *options, **settings):
    return outcome(start(code, *options, **settings))


# --- late, silent and tidy --------------------------------------------------------


@pytest.mark.slow
def test_import_leaves_no_trace(tmp_path):
    """Nothing is printed, and the environment and the verbosity stay as they were.

    Its cache is its own: of that of all tests another process may hold the lock.
    """
    code = """
    assert "pykeops" not in sys.modules and "keopscore" not in sys.modules
    before = dict(os.environ)
    check_keops_available()
    assert dict(os.environ) == before
    import pykeops, keopscore
    assert pykeops.verbose and keopscore.verbose
    """
    assert run(strip(code), "-W", "error", folder=tmp_path) == (0, "", "")


@pytest.mark.slow
def test_denormal_numbers_survive(rng):
    """A library built with -ffast-math would flush them in all of the process."""
    answer(make_case(rng, "full", np.float64))
    assert_array_equal(np.full(3, 1e-310) * 1.0, 1e-310)
    assert_array_equal(torch.full((3,), 1e-310, dtype=torch.float64) * 1.0, 1e-310)
    flags = runtime._pykeops().config.pykeops_base.get_cpp_flags()
    assert "fast" not in flags


FLAGS = """
given = os.environ.get("CXXFLAGS")
check_keops_available()
import pykeops
print(pykeops.config.pykeops_base.get_cpp_flags())
assert os.environ.get("CXXFLAGS") == given
"""


@pytest.mark.slow
def test_compiled_for_this_processor():
    code, flags, error = run(FLAGS)
    assert (code, error) == (0, "")
    assert ("-march=native" in flags) == (platform.machine() in ("x86_64", "AMD64"))


@pytest.mark.parametrize("given", ["", "-DTHE_USERS"])
@pytest.mark.slow
def test_flags_of_the_user_are_kept(given):
    """CXXFLAGS is KeOps' own hook, and it is left as it was set."""
    code, flags, error = run(FLAGS, CXXFLAGS=given)
    assert (code, error) == (0, "")
    assert given in flags
    assert "native" not in flags


@pytest.mark.slow
def test_user_verbosity_is_kept():
    code = """
    check_keops_available()
    import pykeops, keopscore
    assert not pykeops.verbose and not keopscore.verbose
    assert os.environ["PYKEOPS_VERBOSE"] == "0"
    assert "KEOPS_VERBOSE" not in os.environ
    """
    assert run(strip(code), PYKEOPS_VERBOSE="0") == (0, "", "")


def test_silence_is_lifted_after_a_failure():
    pykeops = runtime._pykeops()
    heard = []

    def fail():
        heard.extend([pykeops.verbose, pykeops.keopscore.verbose])
        raise KeyError

    with pytest.raises(KeyError):
        runtime._compile(fail)
    assert heard == [False, False]
    assert pykeops.verbose
    assert pykeops.keopscore.verbose


# --- several at once --------------------------------------------------------------


@pytest.mark.slow
def test_processes_share_an_empty_cache(tmp_path):
    """Only the first process to use a formula compiles and warns; none prints."""
    code = "log_density(); log_density()"
    racers = [start(code, "-W", "always", folder=tmp_path) for _ in range(4)]
    results = [outcome(racer) for racer in racers]
    assert [(status, stdout) for status, stdout, _ in results] == [(0, "")] * 4
    # The others waited for the one that compiled, and found its library.
    warned = "".join(stderr for _, _, stderr in results)
    assert warned.count("UserWarning: KeOps compiles") == 1
    assert str(tmp_path) in warned
    assert "backend='torch' needs no compilation" in warned
    assert len(list(tmp_path.glob("*/*.so"))) == 1
    assert run(code, "-W", "error", folder=tmp_path) == (0, "", "")


@pytest.mark.slow
def test_processes_wait_for_the_lock(tmp_path):
    with open(tmp_path / "sklearn-keops-gmm.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code = "print('ready', flush=True); check_keops_available()"
        process = start(code, folder=tmp_path)
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
    assert outcome(process) == (0, "", "")


def test_threads_take_turns(rng):
    """KeOps alone mixes up the pointers of calls that run at the same time."""
    sizes = [{"n_samples": 500 + i, "n_components": 2 + i} for i in range(6)]
    cases = [make_case(rng, "full", np.float64, **size) for size in sizes]
    failures = []

    def work(case):
        expected = case.expected()
        try:
            for _ in range(20):
                assert_same_moments(answer(case), expected, 1e-11)
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[case]) for case in cases]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


# --- what may go wrong ------------------------------------------------------------


@pytest.mark.slow
def test_missing_compiler(tmp_path):
    code = """
    try:
        check_keops_available()
    except RuntimeError as error:
        print(error)
    """
    status, stdout, stderr = run(strip(code), folder=tmp_path, PATH=str(tmp_path))
    assert (status, stderr) == (0, "")
    assert "needs a C++ compiler" in stdout
    assert "apt install g++" in stdout
    assert "backend='torch'" in stdout


@pytest.mark.slow
def test_missing_pykeops():
    code = """
    sys.modules["pykeops"] = None
    try:
        check_keops_available()
    except ImportError as error:
        print(error)
    """
    status, stdout, stderr = run(strip(code))
    assert (status, stderr) == (0, "")
    assert "pip install pykeops" in stdout


@pytest.mark.slow
def test_compiler_errors_are_shown():
    with pytest.raises(RuntimeError, match=r"(?s)could not compile.*no such header"):
        runtime._run_compiler("echo 'no such header' >&2; exit 1")


@pytest.mark.slow
def test_libraries_appear_whole(tmp_path):
    target = tmp_path / "library.so"
    with pytest.raises(RuntimeError, match="could not compile"):
        runtime._run_compiler(f"false -o {target}")
    assert not target.exists()
    source = tmp_path / "source.cpp"
    source.write_text("int answer = 42;")
    runtime._run_compiler(f"${{CXX:-c++}} -c {source} -o {target}")
    assert sorted(tmp_path.iterdir()) == [target, source]


def test_announced_once(monkeypatch):
    monkeypatch.setattr(runtime, "_announced", False)
    with pytest.warns(UserWarning, match=r"KeOps compiles.*backend='torch'"):
        runtime._run_compiler("true")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime._run_compiler("true")


@pytest.mark.slow
def test_caches_cut_short(tmp_path):
    """KeOps' saved caches may be read while another process writes them."""
    assert run("check_keops_available()", folder=tmp_path) == (0, "", "")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    caches = list(folder.glob("*_cache.pkl"))
    assert len(caches) == 2
    for cache, cut in zip(sorted(caches), (0, 20), strict=True):
        cache.write_bytes(pickle.dumps(list(range(100)))[:cut])
    assert run("check_keops_available()", folder=tmp_path) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["nfo", "so"])
def test_compilation_that_was_killed(cut, tmp_path):
    """What a killed process leaves behind does not stop the next ones."""
    assert run("log_density()", folder=tmp_path)[:2] == (0, "")
    if cut == "nfo":
        (file,) = tmp_path.glob("*/*.nfo")
        file.unlink()
        for cache in tmp_path.glob("*/*_cache.pkl"):
            cache.unlink()
    else:
        (file,) = tmp_path.glob("*/*.so")
        file.write_bytes(b"")
    assert run("log_density()", folder=tmp_path)[:2] == (0, "")


@pytest.mark.parametrize("name", ["abc.cpp", "cubin_abc", "ptx_abc"])
def test_leftovers_go(name, monkeypatch, tmp_path):
    """Of formulas without a description: their source, or their code for a GPU."""
    folder = str(tmp_path)
    monkeypatch.setattr(runtime._pykeops(), "get_build_folder", lambda: folder)
    others = tmp_path / "other.cpp"
    for path in (tmp_path / name, others):
        path.touch()
    runtime._remove_leftovers(FileNotFoundError(2, "", str(tmp_path / "abc.nfo")))
    assert list(tmp_path.iterdir()) == [others]
    with pytest.raises(FileNotFoundError):
        runtime._remove_leftovers(FileNotFoundError(2, "", "/elsewhere/abc.nfo"))


def strip(code):
    """Return indented code as a script."""
    return "\n".join(line[4:] for line in code.splitlines())
