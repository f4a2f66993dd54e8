"""Fixtures shared by the whole test-suite."""

import os
import zlib

# scikit-learn dispatches on arrays only if scipy was told so before its import.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "reproducible",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")

# Several test processes share the cores: threads that wait for each other at every
# small operation would cost more than they give. `many_threads` undoes this.
torch.set_num_threads(1)


@pytest.fixture
def rng(request):
    """A generator of its own for each test, the same on every run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Each device in turn; CUDA is skipped where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return torch.device(request.param)


@pytest.fixture
def many_threads():
    """More threads than one, whatever the machine has."""
    found = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(found)
