"""What answers take of memory, beside themselves."""

import json
import subprocess
import sys

import pytest

from tests.common import reads_peak_memory

pytestmark = reads_peak_memory

PEAKS = """
import json, re
from pathlib import Path
import numpy as np
from sklearn_keops_gmm import KeOpsGaussianMixture

def megabytes(field):
    status = Path("/proc/self/status").read_text()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) / 1000

rng = np.random.default_rng(0)
n_samples, given = 500_000, [0, 1, 2, 3]
X = rng.normal(size=(n_samples, len(given)))
found = {}
for covariance_type in ("full", "diag"):
    mixture = KeOpsGaussianMixture.from_parameters(
        np.full(10, 0.1),
        rng.normal(size=(10, 16)),
        np.tile(np.eye(16), (10, 1, 1)) if covariance_type == "full"
        else np.ones((10, 16)),
        covariance_type,
    )
    asked = {
        "sample": lambda n: mixture.sample(n, random_state=0)[0],
        "conditional_mean": lambda n: mixture.conditional_mean(given, X[:n]),
    }
    for name, ask in asked.items():
        ask(1000)
        Path("/proc/self/clear_refs").write_text("5")
        before = megabytes("VmRSS")
        size = ask(n_samples).nbytes / 1e6
        found[f"{name}, {covariance_type}"] = (megabytes("VmHWM") - before) / size
print(json.dumps(found))
"""


@pytest.mark.slow
def test_large_answers_take_no_more_than_twice_their_size():
    """Of 500,000 samples of 16 features, and of twelve features given four."""
    done = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert len(found) == 4
    assert {name: ratio for name, ratio in found.items() if ratio > 2} == {}
