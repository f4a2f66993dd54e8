"""Time of one EM step, and of predictions, against sklearn.mixture.GaussianMixture.

    python benchmarks/bench_em_step.py
    python benchmarks/bench_em_step.py --dtype float32 --shapes 60000x3x30
    python benchmarks/bench_em_step.py --backends torch keops --save results/step.json
    python benchmarks/bench_em_step.py --structure spherical --shapes 20000x64x50

All estimators see the same data, of one dtype, from the same start, in one process,
taking turns. A step is the slope of the fit's time between one and several
iterations, and the median over rounds is reported. What a fit does once (validation,
what is built before the first step, the labels after the last) is the rest of the
time of a fit of one iteration; "first" is the first fit of one iteration in this
process, with imports, compilation and memory that later fits find ready. Then follow
the ratios for what a fitted mixture is asked: score_samples, predict, predict_proba.
Each is timed after a pause, in which the threads of the others' BLAS stop spinning.

The data are patches of scikit-learn's two photographs, china.jpg and flower.jpg, in
grey levels from 0 to 255, with uniform noise of half a grey level up or down.
"""

import argparse
import statistics
import sys
import warnings
from functools import partial
from time import perf_counter, process_time, sleep

import numpy as np
from common import add_save, describe_machine, save
from sklearn.datasets import load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture

# N samples, D features, M components
SHAPES = ("60000x3x30", "20000x12x50", "8000x64x20", "20000x3x300")
# D: side of a patch, and whether it keeps its three colours
PATCHES = {
    3: (1, True),
    12: (2, True),
    16: (4, False),
    27: (3, True),
    48: (4, True),
    64: (8, False),
    128: (8, True),  # and of those 192 the first 128
    192: (8, True),
}
PAUSE = 0.1  # seconds
METHODS = ("score_samples", "predict", "predict_proba")


def load_patches(N, D, dtype):
    """Return N random patches of the photographs, D numbers each."""
    side, in_colour = PATCHES[D]
    patches = []
    for image, count in zip(
        load_sample_images().images, (N - N // 2, N // 2), strict=True
    ):
        array = image.astype(float)
        if not in_colour:
            array = array.mean(axis=2)
        patches.append(some_patches(array, side, count).reshape(count, -1)[:, :D])
    X = np.concatenate(patches)
    X += np.random.default_rng(0).uniform(-0.5, 0.5, X.shape)
    return X.astype(dtype)


def some_patches(image, side, count):
    """Return random patches of an image, each as often as it takes to have enough."""
    height, width = image.shape[:2]
    there = (height - side + 1) * (width - side + 1)
    draws = [min(there, count - start) for start in range(0, count, there)]
    return np.concatenate(
        [
            extract_patches_2d(image, (side, side), max_patches=draw, random_state=i)
            for i, draw in enumerate(draws)
        ]
    )


def common_start(X, M, structure="full"):
    """Return equal weights, samples as means, and the precision of all samples."""
    rows = np.random.default_rng(1).choice(len(X), M, replace=False)
    covariance = np.cov(X, rowvar=False, dtype=float)
    precision, variances = np.linalg.inv(covariance), np.diag(covariance)
    precisions = {
        "full": np.tile(precision, (M, 1, 1)),
        "tied": precision,
        "diag": np.tile(1 / variances, (M, 1)),
        "spherical": np.full(M, 1 / variances.mean()),
    }[structure]
    return {
        "covariance_type": structure,
        "n_components": M,
        "tol": 0.0,
        "reg_covar": 0.1,  # scikit-learn in float32 fails without
        "weights_init": np.full(M, 1 / M, dtype=X.dtype),
        "means_init": X[rows],
        "precisions_init": precisions.astype(X.dtype),
    }


def seconds_to_fit(make, X, max_iter, clock):
    """Return the time of one fit."""
    model = make(max_iter=max_iter)
    sleep(PAUSE)
    begin = clock()
    model.fit(X)
    return clock() - begin


def bench(makers, X, rounds, clock):
    """Time the estimators in turns; return a dictionary of seconds for each."""
    first, steps = {}, {}
    for name, make in makers.items():
        first[name] = seconds_to_fit(make, X, 1, clock)
        # as many more iterations as take about half a second
        step = (
            seconds_to_fit(make, X, 4, clock) - seconds_to_fit(make, X, 1, clock)
        ) / 3
        steps[name] = int(np.clip(0.5 / max(step, 1e-9), 3, 100))
    times = {name: [] for name in makers}
    for _ in range(rounds):
        for name, make in makers.items():
            one = seconds_to_fit(make, X, 1, clock)
            step = (seconds_to_fit(make, X, 1 + steps[name], clock) - one) / steps[name]
            times[name].append((step, one - step))
    return {
        name: {
            "step": statistics.median(step for step, _ in pairs),
            "once": statistics.median(once for _, once in pairs),
            "first": first[name],
            "steps": [step for step, _ in pairs],
        }
        for name, pairs in times.items()
    }


def bench_methods(makers, X, rounds, clock):
    """Time what the fitted estimators are asked, in turns; return medians."""
    models = {name: make(max_iter=2).fit(X) for name, make in makers.items()}
    times = {(name, method): [] for name in models for method in METHODS}
    for _ in range(rounds):
        for (name, method), seconds in times.items():
            sleep(PAUSE)
            begin = clock()
            getattr(models[name], method)(X)
            seconds.append(clock() - begin)
    return {
        name: {method: statistics.median(times[name, method]) for method in METHODS}
        for name in models
    }


def rows_of(N, D, M, timings, methods):
    """Return a row of results for each estimator, scikit-learn's first."""
    theirs = timings["scikit-learn"]["step"]
    return [
        {
            "N": N,
            "D": D,
            "M": M,
            "estimator": name,
            **timing,
            "ratio": theirs / timing["step"],
            **methods[name],
        }
        for name, timing in timings.items()
    ]


def print_row(row, theirs):
    """Print a row of results, and how it compares with scikit-learn's."""
    print(
        f"{row['N']:6d} {row['D']:3d} {row['M']:4d}  {row['estimator']:<14} "
        f"{1e3 * row['step']:9.2f} {1e9 * row['step'] / (row['N'] * row['M']):8.1f} "
        f"{1e3 * row['once']:9.2f} {1e3 * row['first']:9.1f} {row['ratio']:13.2f}",
        flush=True,
    )
    if row is not theirs:
        ratios = (f"{theirs[method] / row[method]:.1f} {method}" for method in METHODS)
        print(f"{'':>30}", ", ".join(ratios), flush=True)


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        default=SHAPES,
        metavar="NxDxM",
        help=f"samples x features x components, D in {sorted(PATCHES)}; "
        f"by default {' '.join(SHAPES)}",
    )
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument(
        "--structure", choices=("full", "tied", "diag", "spherical"), default="full"
    )
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=("native", "torch", "keops"),
        default=["native"],
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the processor's time instead of the clock's: for a busy machine, "
        "with OMP_NUM_THREADS=1 and its like set",
    )
    add_save(parser)
    return parser.parse_args()


def main():
    """Run the benchmark, print the table."""
    arguments = parse_arguments()
    warnings.simplefilter("ignore", ConvergenceWarning)
    clock = process_time if arguments.cpu_time else perf_counter
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    times = "processor" if arguments.cpu_time else "wall-clock"
    print(
        f"{arguments.structure} covariances, {arguments.dtype}, {times} times, "
        f"median of {arguments.rounds}\n"
    )
    print(
        f"{'N':>6} {'D':>3} {'M':>4}  {'estimator':<14} {'step ms':>9} {'ns/pair':>8} "
        f"{'once ms':>9} {'first ms':>9} {'times faster':>13}"
    )
    results, speedups = [], {backend: [] for backend in arguments.backends}
    for shape in arguments.shapes:
        N, D, M = map(int, shape.split("x"))
        X = load_patches(N, D, arguments.dtype)
        start = common_start(X, M, arguments.structure)
        makers = {"scikit-learn": partial(GaussianMixture, **start)}
        for backend in arguments.backends:
            makers[backend] = partial(KeOpsGaussianMixture, backend=backend, **start)
        timings = bench(makers, X, arguments.rounds, clock)
        methods = bench_methods(makers, X, arguments.rounds, clock)
        found = rows_of(N, D, M, timings, methods)
        results += found
        for row in found:
            print_row(row, found[0])
            if row["estimator"] in speedups:
                speedups[row["estimator"]].append(row["ratio"])
    print()
    for name, ratios in speedups.items():
        print(f"{name}: geometric mean {statistics.geometric_mean(ratios):.2f}")
    save(
        arguments.save,
        structure=arguments.structure,
        dtype=arguments.dtype,
        times=times,
        results=results,
    )


if __name__ == "__main__":
    sys.exit(main())
