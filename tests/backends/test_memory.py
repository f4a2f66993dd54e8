"""What backends hold in memory, at most."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.backends.cases import every_backend, make_case
from tests.common import needs_compiled, reads_peak_memory

pytestmark = reads_peak_memory

PEAK_MEMORY = """
import re, sys, torch
from sklearn import set_config
from sklearn_keops_gmm._model._parameters import Components, Frame
from sklearn_keops_gmm.backends import get_backend

def mebibytes(field):
    status = open("/proc/self/status").read()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) / 1024

name, n_components, n_features, n_samples, working_memory = (
    sys.argv[1], *map(int, sys.argv[2:])
)
set_config(working_memory=working_memory)

def use(n_samples):
    float64 = {"dtype": torch.float64}
    points = torch.randn(n_samples, n_features, **float64)
    offsets = torch.zeros(n_components, **float64)
    means = torch.randn(n_components, n_features, **float64)
    factors = torch.eye(n_features, **float64).repeat(n_components, 1, 1)
    components = Components("full", offsets, means, factors)
    frame = Frame(torch.zeros(n_features, **float64))
    reductions = get_backend(name)(points, None, frame)
    reductions.moments(components)
    reductions.log_density(components)
    reductions.labels(components)

use(100)
open("/proc/self/clear_refs", "w").write("5")
before = mebibytes("VmRSS")
use(n_samples)
print(mebibytes("VmHWM") - before)
"""


@every_backend
@pytest.mark.slow
def test_pairs_are_never_held(name):
    """200,000 x 256 pairs are 391 MiB; far less than that is ever in memory."""
    assert peak_mebibytes(name, n_components=256, n_features=2) < 150


@pytest.mark.slow
def test_working_memory_is_obeyed():
    """200,000 samples of 60 features are 92 MiB: kept in coordinates if they may be."""
    given = {"name": "torch", "n_components": 8, "n_features": 60}
    assert peak_mebibytes(**given) > 2 * 92
    assert peak_mebibytes(**given, working_memory=8) < 92 + 25


@needs_compiled
@pytest.mark.slow
def test_many_components_take_little():
    """2000 x 100,000 pairs are 1526 MiB; each thread holds some 32 samples of them."""
    sizes = {"n_components": 100_000, "n_features": 1, "n_samples": 2000}
    assert peak_mebibytes("native", **sizes, OMP_NUM_THREADS="1") < 60


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("width", [1.0, 1e-6])
def test_tiles_are_long_on_a_gpu_only(device, width, rng):
    """And not where differences from the means are held, M x D for each sample."""
    case = make_case(rng, "full", np.float64, n_samples=40_000)
    case.factors[0] /= width
    reductions = case.reductions("torch")
    pairs = reductions._pairs(case.components())
    reductions._points = reductions._points.to(device)
    long = device == "meta" and width == 1.0
    assert (len(reductions._tiles(pairs)) == 1) == long


def peak_mebibytes(
    name, n_components, n_features, n_samples=200_000, working_memory=1024, **env
):
    """Return what a process needs for so many samples more than for 100."""
    numbers = map(str, (n_components, n_features, n_samples, working_memory))
    command = [sys.executable, "-c", PEAK_MEMORY, name, *numbers]
    # Else glibc learns from large arrays that are freed, and keeps the next ones.
    given = {"MALLOC_MMAP_THRESHOLD_": str(2**20), **env}
    # All cores take part, unless a test says otherwise.
    inherited = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    env = inherited | given
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
