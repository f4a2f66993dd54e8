"""What a step of plain EM costs for each pair of a sample and one of many components.

    OMP_NUM_THREADS=1 python benchmarks/bench_many_components.py
    OMP_NUM_THREADS=1 python benchmarks/bench_many_components.py --structures full \
        --features 64 128 --components 100 300 1000

Processor time of the sums of a step (`moments`), in nanoseconds for each pair, for
several numbers of components in turns; the least of all rounds. Beside it, for full
covariances, what D (D + 1) products and sums take in numpy's product of matrices: no
pair can do with fewer.

Components are at random samples, with the covariance of what is near them. Patches are
those of bench_em_step.py; clusters are apart; of what is called overlapping all
components share all samples, which is the worst case: none can be left out.
"""

import argparse
from time import process_time

import numpy as np
import torch
from bench_em_step import PATCHES, load_patches
from common import add_save, save

from sklearn_keops_gmm._model import Components, Frame
from sklearn_keops_gmm.backends._native import NativeReductions

# Pairs of a round.
PAIRS = 200_000_000
DATA = ("patches", "clusters", "overlapping")


def load(name, N, D, M):
    """Return N samples of D features, and M means."""
    rng = np.random.default_rng(0)
    if name == "patches":
        X = rng.permutation(load_patches(N + M, D, "float64"))
        return X[M:], X[:M]
    if name == "clusters":
        means = 3 * rng.normal(size=(M, D))
        return means[rng.integers(M, size=N)] + rng.normal(size=(N, D)), means
    return rng.normal(size=(N, D)), 0.1 * rng.normal(size=(M, D))


def covariance_of(X, means):
    """Return the mean square of what separates samples from their nearest means."""
    X = X[:500]
    distances = (means**2).sum(1) - 2 * X @ means.T
    apart = X - means[distances.argmin(1)]
    covariance = apart.T @ apart / len(X)
    return covariance + 1e-2 * covariance.trace() / len(covariance) * np.eye(X.shape[1])


def components_of(structure, X, means):
    """Return components of equal weights and covariances."""
    M, D = means.shape
    covariance = covariance_of(X, means)
    if structure in ("full", "tied"):
        factor = np.linalg.inv(np.linalg.cholesky(covariance)).T
        log_det = np.log(np.diag(factor)).sum()
        factors = np.tile(factor, (M, 1, 1)) if structure == "full" else factor
    else:
        scales = np.diag(covariance) ** -0.5
        if structure == "spherical":
            scales = np.full(D, np.trace(covariance) / D) ** -0.5
        log_det = np.log(scales).sum()
        factors = np.tile(scales, (M, 1))
        factors = factors[:, 0] if structure == "spherical" else factors
    offsets = np.full(M, log_det - np.log(M) - 0.5 * D * np.log(2 * np.pi))
    arrays = (np.ascontiguousarray(array) for array in (offsets, means, factors))
    return Components(structure, *map(torch.from_numpy, arrays))


def seconds_for_each(structure, name, D, many, rounds):
    """Return the seconds of a step for each pair, for each number of components."""
    calls = {}
    for M in many:
        N = min(40_000, max(400, PAIRS // (M * max(1, D // 16))))
        X, means = load(name, N, D, M)
        frame = Frame(torch.from_numpy(X.mean(0)), 2.0 ** round(np.log2(X.std())))
        reductions = NativeReductions(torch.from_numpy(X), None, frame)
        calls[M] = reductions.moments, components_of(structure, X, means), N * M
    least = dict.fromkeys(many, np.inf)
    for _ in range(rounds):
        for M, (moments, components, n_pairs) in calls.items():
            begin = process_time()
            moments(components)
            least[M] = min(least[M], (process_time() - begin) / n_pairs)
    return least


def seconds_for_a_product(size=768, rounds=5):
    """Return the seconds of a product and a sum in a product of matrices."""
    a, b = np.random.default_rng(0).normal(size=(2, size, size))
    least = np.inf
    for _ in range(rounds):
        begin = process_time()
        a @ b
        least = min(least, process_time() - begin)
    return least / size**3


def row_of(structure, name, D, many, rounds):
    """Return a row of results, and print it."""
    least = seconds_for_each(structure, name, D, many, rounds)
    row = {"structure": structure, "data": name, "D": D}
    row |= {f"M = {M}": 1e9 * seconds for M, seconds in least.items()}
    row["last to first"] = least[many[-1]] / least[many[0]]
    if structure == "full":
        row["products alone"] = 1e9 * D * (D + 1) * seconds_for_a_product()
    shown = (f"{k} {v:.3g}" if isinstance(v, float) else f"{v}" for k, v in row.items())
    print("  ".join(shown), flush=True)
    return row


def main():
    """Print a line for each case, and save them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    structures = ("full", "tied", "diag", "spherical")
    parser.add_argument("--structures", nargs="+", choices=structures, default=["full"])
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument(
        "--features", nargs="+", type=int, choices=sorted(PATCHES), default=[16]
    )
    parser.add_argument("--components", nargs="+", type=int, default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    add_save(parser)
    arguments = parser.parse_args()
    rows = [
        row_of(structure, name, D, arguments.components, arguments.rounds)
        for structure in arguments.structures
        for D in arguments.features
        for name in arguments.data
    ]
    save(arguments.save, nanoseconds_for_each_pair=rows)


if __name__ == "__main__":
    main()
