"""Whether a sparse fit depends on the seed: the spread of its cost.

    python benchmarks/bench_sparse_seeds.py
    python benchmarks/bench_sparse_seeds.py --seeds 5 --save sparse_seeds.json

The spiral of KeOps' tutorial (10,000 samples, M = 30, s = 20) with six draws of its
noise; and pixels of a photograph, digits (16 principal components) and twenty blobs,
each with M = 40 and s of 2, 10 and 40. These fits depend on no seed, so each seed has
the samples in another order, too. Printed are the costs above the lowest one, the 90th
percentile and the worst of the seeds, to be compared with `tol` = 1e-3; how many
components live; and the seconds of one fit on one core.
"""

import argparse
import warnings
from time import process_time

import numpy as np
import torch
from bench_optima import blobs
from common import add_save, save
from sklearn.datasets import load_digits, load_sample_image
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture

NOISES = range(6)
SPARSITIES = (2.0, 10.0, 40.0)


def spiral(seed):
    """Return the tutorial's spiral with a noise of one's own."""
    t = np.linspace(0, 2 * np.pi, 10_000)
    curve = (0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t))
    noise = np.random.default_rng(seed).normal(size=(len(t), 2))
    return np.stack(curve, axis=1) + 0.02 * noise


def others():
    """Return data by name."""
    rng = np.random.default_rng(0)
    pixels = load_sample_image("china.jpg").reshape(-1, 3).astype(float) / 255
    pixels = pixels[rng.choice(len(pixels), 10_000, replace=False)]
    return {
        "pixels": pixels + rng.uniform(-0.5, 0.5, pixels.shape) / 255,
        "digits": PCA(16, random_state=0).fit_transform(load_digits().data),
        "blobs": blobs(rng, 20, 2, 200, 6),
    }


def problems():
    """Yield names, data, numbers of components and sparsities."""
    for noise in NOISES:
        yield f"spiral {noise}", spiral(noise), 30, 20.0
    for name, X in others().items():
        for sparsity in SPARSITIES:
            yield name, X, 40, sparsity


def fits(X, M, sparsity, n_seeds):
    """Return costs and numbers of components, one for each seed, and seconds.

    Each seed has the samples in an order of its own, too.
    """
    begin = process_time()
    models = [
        KeOpsGaussianMixture(M, sparsity=sparsity, max_iter=500, random_state=seed).fit(
            np.random.default_rng(seed).permutation(X)
        )
        for seed in range(n_seeds)
    ]
    return {
        "costs": [model.cost_ for model in models],
        "found": [model.n_components_ for model in models],
        "seconds": (process_time() - begin) / n_seeds,
    }


def main():
    """Print a line for each data set and sparsity."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", help="some data sets only")
    add_save(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = []
    print(f"{'data':10s}{'s':>5s}{'90 %':>9s}{'worst':>9s}  {'components':12s}seconds")
    for name, X, M, sparsity in problems():
        if options.sets and name.split()[0] not in options.sets:
            continue
        with threadpool_limits(1):
            found = fits(X, M, sparsity, options.seeds)
        above = np.array(found["costs"]) - min(found["costs"])
        counts = f"{min(found['found'])} to {max(found['found'])}"
        print(
            f"{name:10s}{sparsity:5.0f}{np.quantile(above, 0.9):9.4f}{above.max():9.4f}"
            f"  {counts:12s}{found['seconds']:7.2f}",
            flush=True,
        )
        results.append({"data": name, "sparsity": sparsity} | found)
        save(options.save, results=results)


if __name__ == "__main__":
    main()
