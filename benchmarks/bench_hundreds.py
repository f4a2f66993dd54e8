"""Choices and sparse fits that begin with hundreds of components, in plain fits.

    OMP_NUM_THREADS=1 python benchmarks/bench_hundreds.py
    OMP_NUM_THREADS=1 python benchmarks/bench_hundreds.py --sparse

The first form fits `KeOpsGaussianMixtureCV` to 10,000 samples of 5 features, drawn from
10 and from 30 Gaussians, with upper bounds of 30 to 1000 components, and beside each
`KeOpsGaussianMixture` with as many components. The second fits 30,000 samples of 2
features, of 60 round clusters, with `sparsity` and 600 and 3000 components, with moves
and without.

Seconds are those of the processor, the median of all rounds in turns.
"""

import argparse
import warnings
from time import process_time

import numpy as np
import torch
from common import add_save, save
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV

BOUNDS = (30, 100, 300, 1000)
SPARSITY = 20.0


def gaussians(N, D, K):
    """Return samples of K Gaussians whose covariances differ."""
    rng = np.random.default_rng(0)
    means = 3.0 * rng.normal(size=(K, D))
    factors = 0.5 * rng.normal(size=(K, D, D)) + 0.3 * np.eye(D)
    labels = rng.integers(K, size=N)
    noise = rng.normal(size=(N, D))
    return means[labels] + np.einsum("nab,nb->na", factors[labels], noise)


def round_clusters(N, K):
    """Return samples of K round clusters, some of which overlap."""
    rng = np.random.default_rng(0)
    means = rng.uniform(0, 20, (K, 2))
    return means[rng.integers(K, size=N)] + 0.5 * rng.normal(size=(N, 2))


def timed(models, X, rounds):
    """Return what each model finds, and its seconds."""
    seconds = np.empty((rounds, len(models)))
    for i in range(rounds):
        for j, model in enumerate(models):
            begin = process_time()
            model.fit(X)
            seconds[i, j] = process_time() - begin
    found = [model.n_components_ for model in models]
    return found, np.median(seconds, axis=0).tolist()


def shown(row):
    """Print a row, and return it."""
    cells = (
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
    )
    print("  ".join(cells), flush=True)
    return row


def choices(bounds, rounds):
    """Return a row for each number of Gaussians and each upper bound."""
    rows = []
    for K in (10, 30):
        X = gaussians(10_000, 5, K)
        for M in bounds:
            models = [
                KeOpsGaussianMixture(M, random_state=0),
                KeOpsGaussianMixtureCV(M, random_state=0),
            ]
            found, (plain, choice) = timed(models, X, rounds)
            row = {"K": K, "M": M, "found": found[1]}
            row |= {"one fit": plain, "choice": choice, "fits": choice / plain}
            row["criterion"] = float(models[1].criterion_.min())
            rows.append(shown(row))
        first, last = rows[-len(bounds)], rows[-1]
        growth = np.log(last["choice"] / first["choice"]) / np.log(
            last["M"] / first["M"]
        )
        print(f"K {K}: seconds grow as M^{growth:.2f}", flush=True)
    return rows


def sparse_fits(rounds):
    """Return a row for each number of components."""
    rows = []
    X = round_clusters(30_000, 60)
    for M in (600, 3000):
        given = {"sparsity": SPARSITY, "random_state": 0}
        models = [
            KeOpsGaussianMixture(M, moves=moves, **given) for moves in (False, True)
        ]
        found, (without, moved) = timed(models, X, rounds)
        row = {"M": M, "without moves": without, "with moves": moved}
        row |= {"ratio": moved / without, "found": found[1]}
        rows.append(shown(row | {"cost": float(models[1].cost_)}))
    return rows


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--bounds", nargs="+", type=int, default=BOUNDS)
    parser.add_argument("--rounds", type=int, default=3)
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        rows = (
            sparse_fits(arguments.rounds)
            if arguments.sparse
            else choices(arguments.bounds, arguments.rounds)
        )
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
