"""Peak memory and time of fits, scores and labels, and how the time grows.

    python benchmarks/bench_memory.py
    python benchmarks/bench_memory.py --samples 1000000 --components 2000

Each method runs in a process of its own, a fit for two steps from given arrays, on
N standard normal samples of 3 features and M components; peak memory is what the
process holds more than the data and the imported libraries. All N x M pairs in double
precision would be N M 8 bytes.

Then the time of a step of EM, in processor seconds, over a range of N and of M, and
the exponents of the power laws that fit it: 1 is linear.
"""

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path
from time import process_time

import numpy as np
from common import add_save, save

# "start": the default start by k-means, and no step of EM
METHODS = ("start", "fit", "score_samples", "predict")
SAMPLES = (50_000, 100_000, 200_000, 400_000)
COMPONENTS = (50, 100, 200, 400, 800)


def measure(method, N, M):
    """Run `method` in this process; return peak megabytes and processor seconds."""
    from sklearn_keops_gmm import KeOpsGaussianMixture

    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).normal(size=(N, 3))
    start = {
        "weights_init": np.full(M, 1 / M),
        "means_init": X[:M],
        "precisions_init": np.tile(8 * np.eye(3), (M, 1, 1)),
    }
    model = KeOpsGaussianMixture(M, max_iter=1, tol=0.0, **start)
    # What first uses load and keep is no part of the working set.
    model.set_params(n_components=M).fit(X[:M])
    for warm_up in ("score_samples", "predict"):
        getattr(model, warm_up)(X[:1000])
    KeOpsGaussianMixture(2, max_iter=0).fit(X[:1000])
    if method == "fit":
        model.set_params(max_iter=2)
    if method == "start":
        model, method = KeOpsGaussianMixture(M, max_iter=0), "fit"
    Path("/proc/self/clear_refs").write_text("5")
    before, begin = memory("VmRSS"), process_time()
    getattr(model, method)(X)
    return memory("VmHWM") - before, process_time() - begin


def memory(field):
    """Return a field of Linux's account of this process, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1000
    raise LookupError(field)


def in_own_process(method, N, M):
    """Return what `measure` returns, from a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", method, str(N), str(M)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def seconds_per_step(N, M):
    """Return the processor time of one step of EM, the least of three."""
    from sklearn_keops_gmm import KeOpsGaussianMixture

    X = np.random.default_rng(0).normal(size=(N, 3))
    start = {
        "weights_init": np.full(M, 1 / M),
        "means_init": X[:M],
        "precisions_init": np.tile(8 * np.eye(3), (M, 1, 1)),
    }

    def seconds(max_iter):
        model = KeOpsGaussianMixture(M, max_iter=max_iter, tol=0.0, **start)
        begin = process_time()
        model.fit(X)
        return process_time() - begin

    return min((seconds(5) - seconds(1)) / 4 for _ in range(3))


def report_exponent(name, sizes, times):
    """Print the times; return the slope of their logarithms."""
    exponent = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    row = "  ".join(
        f"{size}: {1e3 * time:.1f} ms" for size, time in zip(sizes, times, strict=True)
    )
    print(f"time of a step ~ {name}^{exponent:.2f}   ({row})", flush=True)
    return float(exponent)


def main():
    """Run the benchmark, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--components", type=int, default=2000)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    add_save(parser)
    arguments = parser.parse_args()
    if arguments.measure:
        method, N, M = arguments.measure
        print(json.dumps(measure(method, int(N), int(M))))
        return
    N, M = arguments.samples, arguments.components
    print(f"N = {N}, D = 3, M = {M}: all pairs would take {N * M * 8 / 1e6:.0f} MB")
    found = {}
    for method in METHODS:
        peak, seconds = found[method] = in_own_process(method, N, M)
        print(
            f"{method:<14} {peak:7.0f} MB above the data, {seconds:.1f} s", flush=True
        )
    warnings.simplefilter("ignore")
    times = [seconds_per_step(size, 100) for size in SAMPLES]
    exponents = {"N": report_exponent("N", SAMPLES, times)}
    times = [seconds_per_step(50_000, size) for size in COMPONENTS]
    exponents["M"] = report_exponent("M", COMPONENTS, times)
    save(arguments.save, N=N, M=M, megabytes_and_seconds=found, exponents=exponents)


if __name__ == "__main__":
    sys.exit(main())
