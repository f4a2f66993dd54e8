"""Seconds and bytes of one step of EM on dask, against samples, workers, partitions.

    python benchmarks/bench_dask.py
    python benchmarks/bench_dask.py --save benchmarks/results/dask.json
    python benchmarks/bench_dask.py --rows 100000 --workers 1 --steps 2

Standard normal numbers, float64 in rows of 16, are persisted in the memory of workers
of one thread each, processes of this machine, and fitted with 100 components. A step
is what a fit of more iterations takes longer than one of a single iteration, over the
number of iterations more, each the least of five. Seconds are those of the clock, then
those of processors: of all workers, and of client and scheduler, which are one process
here. Bytes are those that went through the loopback device meanwhile: all that client,
scheduler and workers said to each other, and whatever else used it.

Then, on paper, what a step would cost with 10^9 rows on 100 workers: pairs at the pace
of one worker here; partitions of `--partition-rows` rows, each with the seconds and the
bytes that one more partition of few rows takes here; the mixture sent once to each
worker; and the moments of each partition sent once, which is the most, as those that
are added up where they are do not move. Seconds on paper are those of processors.
"""

import argparse
import warnings
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import dask.array as da
import numpy as np
from common import add_save, save
from distributed import Client, LocalCluster, wait

from sklearn_keops_gmm import KeOpsGaussianMixture

FEATURES = 16
REPEATS = 5
MEASURED = "seconds", "workers cpu", "client cpu", "bytes"
PAPER_ROWS, PAPER_WORKERS = 10**9, 100
FEW_ROWS = 100  # of a partition that takes no time but that of being one


def mixture(n_components, **parameters):
    """Return a mixture with a given start: no k-means before the steps."""
    rng = np.random.default_rng(0)
    return KeOpsGaussianMixture(
        n_components,
        weights_init=np.full(n_components, 1 / n_components),
        means_init=rng.normal(size=(n_components, FEATURES)),
        precisions_init=np.tile(np.eye(FEATURES), (n_components, 1, 1)),
        init_size=1000,
        tol=0.0,
        device="cpu",
        random_state=0,
        **parameters,
    )


def samples(n_rows, n_partitions):
    """Return rows in the memory of the workers."""
    rng = da.random.default_rng(0)
    size = -(-n_rows // n_partitions)
    X = rng.normal(size=(n_rows, FEATURES), chunks=(size, FEATURES)).persist()
    wait(X)
    return X


def looped():
    """Return how many bytes have gone through the loopback device."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[0])
    raise LookupError("lo")


def counters(client):
    """Return clock, seconds of workers, those of this process, and bytes so far."""
    busy = sum(client.run(process_time).values())
    return np.array([perf_counter(), busy, process_time(), looped()])


def spent(client, function):
    """Return what a call took of each."""
    before = counters(client)
    function()
    return counters(client) - before


def step(client, X, n_components, n_steps):
    """Return what a step takes of each."""
    fits = [
        partial(mixture(n_components, max_iter=count).fit, X)
        for count in (1, 1 + n_steps)
    ]
    fits[0]()
    found = [[spent(client, fit) for fit in fits] for _ in range(REPEATS)]
    short, long = np.min(found, axis=0)
    return dict(zip(MEASURED, ((long - short) / n_steps).tolist(), strict=True))


def measure(arguments):
    """Return a row for each number of workers, rows and partitions."""
    results = []
    few = [(FEW_ROWS * n, n) for n in arguments.partitions]
    many = [(n_rows, arguments.partitions[0]) for n_rows in arguments.rows]
    for n_workers in arguments.workers:
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        )
        with cluster, Client(cluster) as client:
            for n_rows, n_partitions in few + many:
                X = samples(n_rows, n_partitions)
                taken = step(client, X, arguments.components, arguments.steps)
                del X
                sizes = {
                    "workers": n_workers,
                    "rows": n_rows,
                    "partitions": n_partitions,
                }
                results.append(sizes | taken)
                print(
                    f"{n_workers:>7} {n_rows:>10,} {n_partitions:>10} "
                    f"{taken['seconds']:>8.3f} {taken['workers cpu']:>8.3f} "
                    f"{taken['client cpu']:>8.3f} {taken['bytes'] / 1e6:>7.2f}",
                    flush=True,
                )
    return results


def line(results, name):
    """Return what each partition adds of something, and what none takes."""
    one = [row for row in results if row["workers"] == results[0]["workers"]]
    few = [row for row in one if row["rows"] == FEW_ROWS * row["partitions"]]
    counts = [row["partitions"] for row in few]
    return np.polyfit(counts, [row[name] for row in few], 1).tolist()


def on_paper(results, n_components, partition_rows):
    """Return what a step would cost with many rows and workers."""
    largest = max(results, key=lambda row: (row["rows"], -row["workers"]))
    beside, fixed = line(results, "workers cpu")
    client, _ = line(results, "client cpu")
    messages, _ = line(results, "bytes")
    computing = largest["workers cpu"] - beside * largest["partitions"] - fixed
    per_pair = computing / (largest["rows"] * n_components)
    n_partitions = -(-PAPER_ROWS // partition_rows)
    sums = size_of_moments(n_components)
    return {
        "nanoseconds per pair": 1e9 * per_pair,
        "ms of a worker per partition": 1e3 * beside,
        "ms of client, scheduler per partition": 1e3 * client,
        "kB of messages per partition": messages / 1e3,
        "kB of a mixture, of moments": sums / 1e3,
        "partitions": n_partitions,
        "s of each worker": (
            PAPER_ROWS * n_components * per_pair + n_partitions * beside
        )
        / PAPER_WORKERS,
        "s of client, scheduler": n_partitions * client,
        "MB of messages": n_partitions * messages / 1e6,
        "MB of mixtures": PAPER_WORKERS * sums / 1e6,
        "MB of moments, at most": n_partitions * sums / 1e6,
        "GB of rows per worker": 8e-9 * PAPER_ROWS * FEATURES / PAPER_WORKERS,
    }


def size_of_moments(n_components):
    """Return the bytes of moments, and of a mixture: M (1 + D + D^2) numbers."""
    return 8 * n_components * (1 + FEATURES + FEATURES**2)


def main():
    """Run the benchmark, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--partitions",
        type=int,
        nargs="+",
        default=[16, 32, 64],
        help="the first for --rows, all for partitions of few rows",
    )
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--partition-rows", type=int, default=2**20)
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{FEATURES} features, {arguments.components} components, per step")
    print("workers       rows partitions        s  workers   client      MB")
    results = measure(arguments)
    paper = on_paper(results, arguments.components, arguments.partition_rows)
    print(f"\non paper: {PAPER_ROWS:,} rows, {PAPER_WORKERS} workers of one thread")
    for name, value in paper.items():
        print(f"{name:<38} {value:>10.4g}")
    content = {"results": results, "on paper": paper}
    save(arguments.save, components=arguments.components, **content)


if __name__ == "__main__":
    main()
