"""Forked children of a process that has fitted: they answer, as their parent does.

OpenMP's threads do not survive a fork, and a child that asks for them waits for ever.
"""

import os
import subprocess
import sys

import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.backends.forking import LESSONS, MORE, QUESTIONS
from tests.common import every_backend


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@every_backend
@pytest.mark.slow
def test_forked_children_answer(backend):
    command = [sys.executable, "-m", "tests.backends.forking", backend]
    # A child hangs where its parent had more threads than one.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = os.environ | dict.fromkeys(names, "2")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=env
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("estimator", [KeOpsGaussianMixture, KeOpsGaussianMixtureCV])
def test_everything_is_asked(estimator):
    """A new method has to be asked in a forked child, too."""
    methods = {
        name
        for name in dir(estimator)
        if not name.startswith("_")
        and getattr(getattr(estimator, name), "__module__", "").startswith(
            "sklearn_keops_gmm"
        )
    }
    assert methods <= {*QUESTIONS, *LESSONS, *MORE}
    assert {"fit", "predict", "sample", "marginal"} <= methods
