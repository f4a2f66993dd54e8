"""Fixtures shared by the whole test-suite."""

import zlib
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.elsewhere import device_called

settings.register_profile(
    "reproducible",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")

# As tests/__init__.py does for other libraries; `many_threads` undoes this.
torch.set_num_threads(1)


def pytest_configure(config):
    """Let fits end before they converge, as most tests do on purpose."""
    config.addinivalue_line(
        "filterwarnings", "ignore::sklearn.exceptions.ConvergenceWarning"
    )


def seed_of(node):
    """Return a seed of a test's own, the same on every run."""
    return zlib.crc32(node.nodeid.encode())


@pytest.fixture
def rng(request):
    """A generator of its own for each test, the same on every run."""
    return np.random.default_rng(seed_of(request.node))


@pytest.fixture(autouse=True)
def global_random_state(request):
    """What a test draws that names no `random_state`: the same on every run."""
    np.random.seed(seed_of(request.node))  # noqa: NPY002


@pytest.fixture(params=["cpu", "elsewhere", "cuda"])
def device(request):
    """Each device in turn; CUDA is skipped where there is none."""
    with device_called(request.param) as found:
        yield found


@pytest.fixture
def one_thread():
    """Dask computes in the thread that asks."""
    with pytest.importorskip("dask").config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def frames():
    """Dask's data frames."""
    return pytest.importorskip("dask.dataframe")


@pytest.fixture
def many_threads():
    """More threads than one, whatever the machine has."""
    found = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(found)


def pytest_collection_modifyitems(items):
    """Leave in the fast part as many parameter sets as `fast` marks say."""
    sets = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("fast")
        if mark is not None:
            sets[item.nodeid.partition("[")[0], *mark.args].append(item)
    for (_, n_fast), found in sets.items():
        for item in sorted(found, key=seed_of)[n_fast:]:
            item.add_marker(pytest.mark.slow)
