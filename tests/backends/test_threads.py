"""Threads: as many as torch may use, one core each, and everything given back."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import pytest
import torch
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm.backends import _openmp
from sklearn_keops_gmm.backends._threads import chunks, map_threads, single_thread
from tests.common import blobs

CPU = torch.device("cpu")


def torch_threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


class Watch:
    """A task for threads, that notes how many ran it and how many at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = self.most = 0
        self.threads, self.torch_threads = set(), set()

    def __call__(self, item):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.get_ident())
            self.torch_threads.add(torch.get_num_threads())
        time.sleep(0.005)
        with self.lock:
            self.running -= 1
        return item * item


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 1000])
@pytest.mark.parametrize("at_most", [0, 1, 5, 16])
def test_chunks(count, at_most):
    found = chunks(range(count), at_most)
    assert [item for chunk in found for item in chunk] == list(range(count))
    assert len(found) == min(count, max(at_most, 1))
    lengths = [len(chunk) for chunk in found]
    assert max(lengths) - min(lengths) <= 1


def test_as_many_threads_as_torch_has(many_threads):
    watch = Watch()
    assert map_threads(watch, range(12), CPU) == [i * i for i in range(12)]
    assert watch.most == len(watch.threads) == 3
    assert watch.torch_threads == {1}
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3


def test_only_the_caller_where_torch_has_one_thread():
    watch = Watch()
    map_threads(watch, range(4), CPU)
    assert watch.threads == {threading.get_ident()}


def test_limits_of_threadpoolctl(many_threads):
    watch = Watch()
    with threadpool_limits(1):
        map_threads(watch, range(4), CPU)
    assert watch.threads == {threading.get_ident()}
    assert torch.get_num_threads() == 3


def test_held_to_one_thread_tiles_keep_theirs(many_threads):
    watch = Watch()
    with single_thread():
        assert torch.get_num_threads() == 1
        map_threads(watch, range(6), CPU)
    assert watch.most == 3
    assert torch.get_num_threads() == 3


def test_given_back_after_an_error(many_threads):
    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError):
        map_threads(fail, range(4), CPU)
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3
    watch = Watch()
    map_threads(watch, range(6), CPU)
    assert watch.most == 3


def test_threads_are_kept(many_threads):
    """The caller and the same two helpers, however often they are asked."""
    watch = Watch()
    for _ in range(5):
        map_threads(watch, range(6), CPU)
    assert len(watch.threads) == 3
    assert watch.torch_threads == {1}
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3


def test_more_threads_when_torch_has_more(many_threads):
    map_threads(Watch(), range(6), CPU)
    torch.set_num_threads(5)
    watch = Watch()
    map_threads(watch, range(10), CPU)
    assert watch.most == len(watch.threads) == 5
    assert torch.get_num_threads() == 5


FORKS = """
import os, warnings, torch
from sklearn_keops_gmm.backends._threads import map_threads

warnings.simplefilter("ignore")  # Python warns of a fork where there are threads
torch.set_num_threads(2)
squares = [map_threads(lambda i: i * i, range(4), torch.device("cpu"))]
child = os.fork()
squares += [map_threads(lambda i: i * i, range(4), torch.device("cpu"))]
assert squares == [[0, 1, 4, 9]] * 2
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.slow
def test_a_forked_child_starts_threads_of_its_own():
    command = [sys.executable, "-c", FORKS]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_callers_share_the_threads(many_threads):
    """Three callers at once take one thread each, not three."""
    watch, ready = Watch(), threading.Barrier(3)

    def call(_):
        torch.set_num_threads(3)
        ready.wait()
        for _ in range(4):
            map_threads(watch, range(6), CPU)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(call, range(3)))
    # The first to come does not know of the others yet.
    assert watch.most <= 5
    watch = Watch()
    map_threads(watch, range(6), CPU)
    assert watch.most == 3


def test_fits_side_by_side(many_threads):
    """The same mixture in each thread, and torch's number of threads given back."""
    X = blobs(3000)

    def fit(_):
        return KeOpsGaussianMixture(4, random_state=0).fit(X).means_

    alone = fit(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(fit, range(8)):
            assert_array_equal(found, alone)
    assert torch.get_num_threads() == 3


class Newcomer:
    """A thread that first asks torch for its number now, and once more later."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(1)
        self.first = self.ask()

    def ask(self):
        return self.pool.submit(torch.get_num_threads).result()

    def last(self):
        with self.pool:
            return self.ask()


def test_others_that_ask_during_a_fit_keep_their_number(many_threads):
    newcomers = []

    def prior(weights, means, factors):
        assert torch.get_num_threads() == 1
        newcomers.append(Newcomer())
        return 0.0 * weights.sum()

    mixture = KeOpsGaussianMixture(2, prior=prior, solver="adam", max_iter=2)
    mixture.set_params(random_state=0, tol=0.0).fit(blobs(3000))
    assert newcomers
    for newcomer in newcomers:
        assert (newcomer.first, newcomer.last()) == (3, 3)


def test_others_that_ask_during_tiles_keep_their_number(many_threads):
    """Also while the threads for tiles are started, five as none has asked for yet."""
    torch.set_num_threads(5)
    newcomers = map_threads(lambda _: Newcomer(), range(10), CPU)
    assert [(one.first, one.last()) for one in newcomers] == [(5, 5)] * 10


def test_holds_that_end_in_any_order(many_threads):
    """Each thread gets back what it had, and newcomers what torch has."""
    ends = [threading.Event() for _ in range(3)]
    held = threading.Barrier(4)

    def hold(i):
        torch.get_num_threads()
        with single_thread():
            held.wait()
            ends[i].wait()
        return torch.get_num_threads()

    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(hold, i) for i in range(3)]
        held.wait()
        seen = []
        for i in (1, 0, 2):
            ends[i].set()
            seen.append((found[i].result(), torch_threads_of_a_new_thread()))
    assert seen == [(3, 3)] * 3


def test_code_that_takes_all_threads(many_threads):
    with single_thread():
        with _openmp.all_threads():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_where_the_libraries_of_torch_are_not_found(many_threads, monkeypatch):
    """torch is set instead, which others can see until the end."""
    monkeypatch.setattr(_openmp, "_libraries", lambda: None)
    watch = Watch()
    with single_thread():
        assert torch.get_num_threads() == 1
        map_threads(watch, range(6), CPU)
    assert watch.most == 3
    assert watch.torch_threads == {1}
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3


@pytest.mark.slow
def test_processes_of_joblib_divide_the_cores(monkeypatch):
    """Each worker has its share of the cores, and tiles take no more."""
    # joblib divides where the environment does not say how many.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    n_jobs = 2
    share = max(1, joblib.cpu_count() // n_jobs)
    found = joblib.Parallel(n_jobs=n_jobs, backend="loky")(
        joblib.delayed(threads_in_use)() for _ in range(4)
    )
    assert max(found) <= share


def threads_in_use():
    watch = Watch()
    map_threads(watch, range(16), CPU)
    return watch.most
