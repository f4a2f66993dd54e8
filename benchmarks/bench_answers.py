"""Peak memory of answers that are large themselves, beside their own size.

    OMP_NUM_THREADS=1 python benchmarks/bench_answers.py

500,000 draws of 16 features, and as many conditional means of the features that are
not given, each in a process of its own; and the seconds of the processor.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import process_time

import numpy as np
from bench_memory import memory
from common import add_save, save

SAMPLES, FEATURES = 500_000, 16
# Covariance types, numbers of components, and how many features are given; 0: sample.
CASES = (
    ("full", 20, 0),
    ("full", 1, 0),
    ("diag", 20, 0),
    ("full", 20, 1),
    ("full", 20, 8),
    ("full", 100, 8),
    ("diag", 20, 8),
)


def measure(covariance_type, n_components, n_given):
    """Return the megabytes of an answer, those at its peak, and its seconds."""
    from sklearn_keops_gmm import KeOpsGaussianMixture

    rng = np.random.default_rng(0)
    mixture = KeOpsGaussianMixture(
        n_components, covariance_type=covariance_type, random_state=0
    ).fit(rng.normal(size=(3000, FEATURES)))
    given = list(range(n_given))
    X = rng.normal(size=(SAMPLES, n_given))

    def ask(n_samples):
        if not given:
            return mixture.sample(n_samples, random_state=0)
        return (mixture.conditional_mean(given, X[:n_samples]),)

    ask(2000)
    Path("/proc/self/clear_refs").write_text("5")
    before, begin = memory("VmRSS"), process_time()
    size = sum(array.nbytes for array in ask(SAMPLES)) / 1e6
    return size, memory("VmHWM") - before, process_time() - begin


def in_own_process(case):
    """Return what `measure` returns, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--measure", *map(str, case)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main():
    """Run the benchmark, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    add_save(parser)
    arguments = parser.parse_args()
    if arguments.measure:
        covariance_type, *numbers = arguments.measure
        print(json.dumps(measure(covariance_type, *map(int, numbers))))
        return
    rows = []
    for case in CASES:
        size, peak, seconds = in_own_process(case)
        covariance_type, n_components, n_given = case
        rows.append(
            {
                "answer": "conditional_mean" if n_given else "sample",
                "covariance_type": covariance_type,
                "components": n_components,
                "given": n_given,
                "megabytes": size,
                "peak": peak,
                "seconds": seconds,
            }
        )
        print(rows[-1], f"{peak / size:.2f} times its size", flush=True)
    save(arguments.save, samples=SAMPLES, features=FEATURES, rows=rows)


if __name__ == "__main__":
    main()
