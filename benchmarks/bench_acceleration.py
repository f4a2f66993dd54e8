"""Steps and seconds of EM, plain and accelerated, to the same cost.

    OMP_NUM_THREADS=1 python benchmarks/bench_acceleration.py

Plain EM runs until a step lowers the cost by less than `tol`; that is the cost to be
reached. For each way of getting there, from the same start, the number of passes
over the pairs and the processor time are printed. A way that ends at another optimum
is told by the cost that it has in the end.
"""

import argparse
import sys
import warnings
from time import process_time

import numpy as np
from bench_em_step import load_patches
from bench_whole_fit import load_pixels
from common import add_save, save
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning

from sklearn_keops_gmm import KeOpsGaussianMixture


def load_data():
    """Return data sets by name, each with a number of components."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2 * np.pi, 10_000)
    spiral = np.stack((0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t)), 1)
    overlap = np.concatenate([rng.normal(c, 1, (3000, 2)) for c in (0, 1.5, 3)])
    wine = load_wine().data
    return {
        "wine, 178 x 13": (wine / wine.std(axis=0), 3),
        "overlapping blobs, 9000 x 2": (overlap, 3),
        "spiral, 10000 x 2": (spiral + 0.02 * rng.normal(size=spiral.shape), 10),
        "pixels, 20000 x 3": (load_pixels(20_000), 10),
        "patches, 10000 x 12": (load_patches(10_000, 12, "float64"), 10),
    }


def passes_to(target, X, M, **given):
    """Return passes over the pairs until the cost is at most `target`, and seconds."""
    low, high = 0, 4

    def cost(max_iter):
        model = KeOpsGaussianMixture(
            M, random_state=0, tol=0.0, max_iter=max_iter, **given
        )
        begin = process_time()
        model.fit(X)
        return min(model.costs_), process_time() - begin

    while cost(high)[0] > target:
        if high > 20_000:
            return None, cost(high)[1]
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(middle)[0] <= target else (middle, high)
    start = min(cost(0 + 1)[1] for _ in range(3))
    return high, cost(high)[1] - start


def main():
    """Run the benchmark, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-6, 1e-8])
    add_save(parser)
    arguments = parser.parse_args()
    rows = []
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'data':<29} {'tol':>6} {'EM':>6} {'s':>6} {'squarem':>8} {'s':>6}  cost")
    for name, (X, M) in load_data().items():
        for tol in arguments.tol:
            plain = KeOpsGaussianMixture(M, random_state=0, tol=tol, max_iter=20_000)
            target = plain.fit(X).costs_[-1]
            ways = [
                passes_to(target, X, M, acceleration=acceleration)
                for acceleration in (None, "squarem")
            ]
            row = " ".join(f"{steps or 'never':>6} {s:6.2f}" for steps, s in ways)
            print(f"{name:<29} {tol:6.0e} {row}  {target:.6f}", flush=True)
            rows.append(
                {"data": name, "tol": tol, "cost": target}
                | dict(zip(("EM", "squarem"), ways, strict=True))
            )
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    sys.exit(main())
