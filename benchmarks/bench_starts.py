"""Time of k-means and k-means++, which fits start from, against scikit-learn's.

    python benchmarks/bench_starts.py
    python benchmarks/bench_starts.py --threads 2 --dtype float32
    python benchmarks/bench_starts.py --shapes 30000x16x300 --save results/starts.json

Both see the same patches of photographs as in bench_em_step.py, with the same seed, in
one process, taking turns; times are the least of all rounds, on one core those of the
processor. "Lloyd" is k-means less k-means++. For the first of the shapes follows the
time of a whole fit with default parameters beside that of scikit-learn's k-means alone.
"""

import argparse
import warnings
from time import perf_counter, process_time

import numpy as np
import torch
from bench_em_step import load_patches
from common import add_save, save
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm.backends._native import native_kmeans, native_kmeans_plusplus

# N samples, D features, k clusters
SHAPES = ("100000x3x1000", "30000x16x300", "20000x3x30", "20000x16x100")
TOL = 1e-4


def seeded():
    """Return the state that all start from."""
    return np.random.RandomState(0)


def least_times(calls, rounds, clock):
    """Call all in turns; return the least time, and the last answer, of each."""
    times, answers = dict.fromkeys(calls, np.inf), {}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = clock()
            answers[name] = call()
            times[name] = min(times[name], clock() - begin)
    return times, answers


def bench(X, k, rounds, clock):
    """Return the times and the ratios for one shape."""
    calls = {
        "their k-means++": lambda: kmeans_plusplus(X, k, random_state=seeded()),
        "our k-means++": lambda: native_kmeans_plusplus(X, k, None, seeded()),
        "their k-means": lambda: KMeans(k, n_init=1, random_state=seeded()).fit(X),
        "our k-means": lambda: native_kmeans(X, k, None, TOL, seeded()),
    }
    times, answers = least_times(calls, rounds, clock)
    lloyd = {
        whose: times[f"{whose} k-means"] - times[f"{whose} k-means++"]
        for whose in ("their", "our")
    }
    theirs, ours = answers["their k-means"], answers["our k-means"]
    return times | {
        "iterations": [theirs.n_iter_, ours.n_iter_],
        "labels that differ": int((theirs.labels_ != ours.labels_).sum()),
        "k-means++": times["their k-means++"] / times["our k-means++"],
        "Lloyd": lloyd["their"] / lloyd["our"],
        "k-means": times["their k-means"] / times["our k-means"],
    }


def bench_fit(X, k, rounds, clock):
    """Return the time of a whole fit with default parameters."""
    fit = KeOpsGaussianMixture(k, random_state=0).fit
    times, answers = least_times({"fit": lambda: fit(X)}, rounds, clock)
    return {"whole fit": times["fit"], "steps of EM": answers["fit"].n_iter_}


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="NxDxK")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    add_save(parser)
    return parser.parse_args()


def main():
    """Print a line for each shape, and save them."""
    arguments = parse_arguments()
    clock = process_time if arguments.threads == 1 else perf_counter
    torch.set_num_threads(arguments.threads)
    rows = []
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(arguments.threads):
        for shape in arguments.shapes:
            N, D, k = map(int, shape.split("x"))
            X = load_patches(N, D, arguments.dtype)
            row = {"shape": shape} | bench(X, k, arguments.rounds, clock)
            if not rows:
                row |= bench_fit(X, k, min(2, arguments.rounds), clock)
                row["fit beside k-means"] = row["whole fit"] / row["their k-means"]
            rows.append(row)
            for name, value in row.items():
                shown = f"{value:.3f}" if isinstance(value, float) else value
                print(f"{name}: {shown}", end="; ", flush=True)
            print()
    save(arguments.save, threads=arguments.threads, dtype=arguments.dtype, results=rows)


if __name__ == "__main__":
    main()
