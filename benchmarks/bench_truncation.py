"""Fits with `truncation` beside plain ones: time, likelihood, growth and memory.

    OMP_NUM_THREADS=1 python benchmarks/bench_truncation.py

Three tables: a truncated fit of 20 steps, its start included, beside steps of plain EM
from the same start; how the time of such a fit grows with the number of components; and
what a fit to many samples takes of memory. Times are those of the processor; plain
steps and truncated fits of a row are measured one after the other, and what other
programs do at the same time changes both. Where plain EM takes too long its likelihood
after as many steps is left out.
"""

import argparse
import json
import subprocess
import sys
import warnings
from resource import RUSAGE_SELF, getrusage
from time import process_time

import numpy as np
from bench_em_step import load_patches
from common import add_save, save
from sklearn.exceptions import ConvergenceWarning

from sklearn_keops_gmm import KeOpsGaussianMixture

D, STEPS, CANDIDATES = 16, 20, 5
# Where plain EM would take too long it makes so many steps: the first is slower.
FEW_STEPS = 3
# Up to so many pairs plain EM makes all steps, and scores are exact.
FEW = 10**8


def load(name, N, M):
    """Return N samples to fit, and 20,000 others."""
    rng = np.random.default_rng(0)
    n_rows = N + 20_000
    if name == "patches":
        X = rng.permutation(load_patches(n_rows, D, "float64"))
    else:
        centres = 3 * rng.normal(size=(M, D))
        X = centres[rng.integers(M, size=n_rows)] + rng.normal(size=(n_rows, D))
    return X[:N], X[N:]


def mixture(M, truncation=CANDIDATES, max_iter=STEPS, **given):
    """Return an estimator that makes all of its steps."""
    return KeOpsGaussianMixture(
        M,
        truncation=truncation,
        max_iter=max_iter,
        tol=0.0,
        reg_covar=1e-4,
        random_state=0,
        **given,
    )


def seconds(model, X):
    """Fit, and return the processor time."""
    begin = process_time()
    model.fit(X)
    return process_time() - begin


def compare(name, N, M):
    """Return a row: both ways from the same start."""
    X, new = load(name, N, M)
    few = mixture(M)
    fit = seconds(few, X)
    begun = mixture(M, max_iter=0).fit(X)
    start = {
        "weights_init": begun.weights_,
        "means_init": begun.means_,
        "precisions_init": begun.precisions_,
    }
    all_steps = N * M <= FEW
    steps = STEPS if all_steps else FEW_STEPS
    plain = mixture(M, truncation=None, max_iter=steps, **start)
    step = seconds(plain, X) / (steps + 1)  # and one E-step for the final cost
    row = {"data": name, "N": N, "M": M, "fit": fit, "plain step": step}
    row["ratio"] = STEPS * step / fit
    row["least rise"] = float(np.diff(few.lower_bounds_).min())
    if all_steps:
        row["train"] = few.score(X) - plain.score(X)
        row["held out"] = few.score(new) - plain.score(new)
    return row


def measure(N, M):
    """Print the time of a fit, and megabytes above those of the data, as JSON."""
    X, _ = load("clusters", N, M)
    mixture(20).fit(X[:2000])  # so that nothing is loaded later
    before = getrusage(RUSAGE_SELF).ru_maxrss
    fit = seconds(mixture(M), X)
    grown = (getrusage(RUSAGE_SELF).ru_maxrss - before) * 1024
    row = {
        "N": N,
        "M": M,
        "fit": fit,
        "data MB": X.nbytes / 1e6,
        "more MB": grown / 1e6,
    }
    print(json.dumps(row))


def measured(N, M):
    """Return what `measure` prints in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(N), str(M)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def show(row):
    """Print a row."""
    texts = (
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.items()
    )
    print("  ".join(texts), flush=True)
    return row


def main():
    """Run the benchmark, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--components", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--growth", type=int, nargs="*", default=[1000, 10_000, 30_000])
    parser.add_argument("--many", type=int, nargs="*", default=[1_000_000, 10_000])
    parser.add_argument("--measure", type=int, nargs=2, help=argparse.SUPPRESS)
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if arguments.measure:
        return measure(*arguments.measure)
    N = arguments.samples
    rows = [
        show(compare(name, N, M))
        for name in ("patches", "clusters")
        for M in arguments.components
    ]
    growth = [show(measured(N, M)) for M in arguments.growth]
    if len(growth) > 1:
        first, last = growth[0], growth[-1]
        times = np.log(last["fit"] / first["fit"])
        print(f"time grows as M^{times / np.log(last['M'] / first['M']):.2f}")
    many = [show(measured(*arguments.many))] if arguments.many else []
    save(arguments.save, rows=rows, growth=growth, many=many)
    return 0


if __name__ == "__main__":
    sys.exit(main())
