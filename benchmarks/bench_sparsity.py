"""The sparsity prior on the spiral of KeOps' tutorial: solvers, path, search.

    python benchmarks/bench_sparsity.py
    python benchmarks/bench_sparsity.py --seeds 20 --save sparsity.json
    python benchmarks/bench_sparsity.py --path

The first form fits 10,000 samples with M = 30 and s = 20 from the default start of
each seed, and prints the cost (recomputed from the public attributes), how many
components live, and seconds of the processor in one thread: for EM with and without
moves, for 501 steps of Adam, and for L-BFGS.

The second compares `sparsity_path` with one fit for each of its knots, and
`KeOpsGaussianMixtureCV` with the grid search over the same sparsities and folds.
"""

import argparse
import warnings
from time import process_time

import numpy as np
import torch
from common import add_save, save
from sklearn.model_selection import GridSearchCV, KFold
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)

M, SPARSITY = 30, 20.0
SOLVERS = {
    "em, moves": {},
    "em, no moves": {"moves": False},
    "adam": {"solver": "adam", "learning_rate": 0.1, "max_iter": 501, "tol": 0.0},
    "lbfgs": {"solver": "lbfgs", "tol": 1e-6, "max_iter": 1000},
}


def spiral(N):
    """Return the tutorial's spiral."""
    t = np.linspace(0, 2 * np.pi, N)
    curve = (0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t))
    noise = np.random.RandomState(0).normal(size=(N, 2))
    return np.stack(curve, axis=1) + 0.02 * noise


def timed(call):
    """Return what a call returns, and its seconds."""
    begin = process_time()
    result = call()
    return result, process_time() - begin


def table(X, n_seeds):
    """Print and return cost, components and seconds of each solver and seed."""
    print("seed" + "".join(f"{name:>28}" for name in SOLVERS))
    rows = []
    for seed in range(n_seeds):
        row = {}
        for name, settings in SOLVERS.items():
            model = KeOpsGaussianMixture(
                M, sparsity=SPARSITY, random_state=seed, **settings
            )
            _, seconds = timed(lambda model=model: model.fit(X))
            penalty = SPARSITY / M * np.sqrt(model.weights_).sum()
            cost = float(penalty - model.score(X))
            row[name] = (cost, model.n_components_, seconds)
        rows.append(row)
        cells = (f"{c:14.4f}{k:5}{s:8.2f} s" for c, k, s in row.values())
        print(f"{seed:4}" + "".join(cells), flush=True)
    for name in SOLVERS:
        costs, counts, seconds = np.array([row[name] for row in rows]).T
        print(
            f"{name:14} cost median {np.median(costs):.4f}, worst {costs.max():.4f}, "
            f"components {int(counts.min())} to {int(counts.max())}, "
            f"median {np.median(seconds):.2f} s"
        )
    return rows


def paths(X):
    """Compare the path with fits, and the search along paths with a grid search."""
    given = {"random_state": 0}
    path, seconds = timed(lambda: sparsity_path(X, M, **given))
    knots = path.sparsities[np.isfinite(path.sparsities[:, 0]), 0]

    def fits():
        return [KeOpsGaussianMixture(M, sparsity=s, **given).fit(X) for s in knots]

    _, apart = timed(fits)
    print(
        f"sparsity_path: {len(path.mixtures)} mixtures, {len(knots)} knots, "
        f"{seconds:.2f} s; a fit at each knot {apart:.2f} s, "
        f"ratio {apart / seconds:.1f}"
    )
    rows = {"path": {"seconds": seconds, "a fit at each knot": apart}}
    folds = KFold(5, shuffle=True, random_state=0)
    search, seconds = timed(
        lambda: KeOpsGaussianMixtureCV(M, criterion="cv", cv=folds, **given).fit(X)
    )
    grid, apart = timed(
        lambda: GridSearchCV(
            KeOpsGaussianMixture(M, **given), {"sparsity": knots}, cv=folds
        ).fit(X)
    )
    print(
        f"KeOpsGaussianMixtureCV: {search.n_components_} components, {seconds:.2f} s; "
        f"GridSearchCV: {grid.best_estimator_.n_components_} components, "
        f"{apart:.2f} s, ratio {apart / seconds:.1f}"
    )
    rows["search"] = {"seconds": seconds, "grid search": apart}
    return rows


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--path", action="store_true")
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        X = spiral(10_000)
        rows = paths(X) if arguments.path else table(X, arguments.seeds)
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
