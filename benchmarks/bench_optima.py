"""How good the optimum is for a given number of components, and what it costs.

    python benchmarks/bench_optima.py
    python benchmarks/bench_optima.py --n-init 1 10 50 --peers --save found.json

Ten data sets, made or shipped with scikit-learn. "plain N" is `KeOpsGaussianMixture`
from N starts by k-means, "moves" from one with ``moves=True``, "merge" from one with
``init_params="merge"``, "both" with both; ``--peers`` adds
`sklearn.mixture.GaussianMixture` from N starts. All converge to ``tol=1e-8``. Printed
are mean log-likelihoods, in nats per sample below the best of all runs, as the mean
over three seeds and their worst; and seconds of one core.

Where a component has fewer samples than features plus one the likelihood has no
maximum: two rows may be worth .05 nats per sample, or any number. So runs that end with
such components are neither the best nor part of the mean; "singular" counts them. With
``covariance_pooling`` there is a maximum, and no run is left out.
"""

import argparse
import warnings
from time import process_time

import numpy as np
import torch
from common import add_save, save
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_sample_image,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture

SEEDS = range(3)
EXACT = {"tol": 1e-8, "max_iter": 3000}


def blobs(rng, K, D, n, distance, widths=(1.0, 1.0), sizes=None):
    """Return samples of K round clusters."""
    means = rng.normal(size=(K, D)) * distance
    sigma = rng.uniform(*widths, size=K)
    counts = np.full(K, n) if sizes is None else np.array(sizes)
    labels = np.repeat(np.arange(K), counts)
    return means[labels] + sigma[labels, None] * rng.normal(size=(len(labels), D))


def problems():
    """Return data with a number of components and parameters, by name."""
    rng = np.random.default_rng(0)
    pixels = load_sample_image("china.jpg").reshape(-1, 3).astype(float) / 255
    pixels = pixels[rng.choice(len(pixels), 10_000, replace=False)]
    pixels += rng.uniform(-0.5, 0.5, pixels.shape) / 255
    digits = PCA(16, random_state=0).fit_transform(load_digits().data)
    cancer = PCA(5, random_state=0).fit_transform(scale(load_breast_cancer().data))
    angle = rng.uniform(0, np.pi, 4000)
    arcs = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.choice([1, 2], (4000, 1))
    arcs += 0.08 * rng.normal(size=arcs.shape)
    tails = rng.standard_t(4, size=(4000, 4)) + 4 * rng.integers(0, 3, (4000, 1))
    unbalanced = blobs(rng, 8, 2, 0, 10, (0.5, 1), [2000] * 3 + [100] * 5)
    return {
        "pixels": (pixels, 30, {}),
        "digits": (digits, 10, {}),
        "cancer": (cancer, 6, {}),
        "wine": (scale(load_wine().data), 5, {"covariance_pooling": "auto"}),
        "fifteen": (blobs(rng, 15, 2, 330, 4), 15, {}),
        "unbalanced": (unbalanced, 8, {}),
        "fifty": (blobs(rng, 50, 2, 100, 8), 50, {}),
        "thirty": (blobs(rng, 30, 10, 100, 1.6), 30, {}),
        "arcs": (arcs, 12, {}),
        "tails": (tails, 9, {}),
    }


def methods(n_inits, peers):
    """Return the parameters that each method adds, by name."""
    ours = {f"plain {n}": {"n_init": n} for n in n_inits}
    ours["moves"] = {"moves": True}
    ours["merge"] = {"init_params": "merge"}
    ours["both"] = {"init_params": "merge", "moves": True}
    theirs = {f"sklearn {n}": {"n_init": n} for n in n_inits} if peers else {}
    return ours | theirs


def run(name, X, K, given, added):
    """Return what a method reaches, and the seconds, for each seed."""
    cls = GaussianMixture if name.startswith("sklearn") else KeOpsGaussianMixture
    if cls is GaussianMixture and given:
        return None
    found = []
    for seed in SEEDS:
        begin = process_time()
        model = cls(K, random_state=seed, **EXACT | given | added).fit(X)
        seconds = process_time() - begin
        value = -model.cost_ if given else model.score(X)
        few = (model.weights_ * len(X) < X.shape[1] + 1).sum()
        found.append(
            {
                "value": float(value),
                "seconds": seconds,
                "singular": 0 if given else int(few),
            }
        )
    return found


def print_gaps(name, found):
    """Print how far below the best each method ends."""
    sound = {
        method: [one["value"] for one in runs if not one["singular"]]
        for method, runs in found.items()
    }
    best = max(value for values in sound.values() for value in values)
    for method, runs in found.items():
        gaps = [best - value for value in sound[method]] or [np.nan]
        seconds = np.mean([one["seconds"] for one in runs])
        print(
            f"{name:12s}{method:12s}{np.mean(gaps):9.4f}{np.max(gaps):9.4f}"
            f"{len(runs) - len(sound[method]):9d}{seconds:9.2f}",
            flush=True,
        )


def main():
    """Print a line for each method on each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-init", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--peers", action="store_true", help="also scikit-learn")
    parser.add_argument("--sets", nargs="+", help="some data sets only")
    add_save(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = {}
    print(
        f"{'data':12s}{'method':12s}{'below':>9s}{'worst':>9s}{'singular':>9s}{'seconds':>9s}"
    )
    for name, (X, K, given) in problems().items():
        if options.sets and name not in options.sets:
            continue
        with threadpool_limits(1):
            found = {
                method: run(method, X, K, given, added)
                for method, added in methods(options.n_init, options.peers).items()
            }
        found = {method: runs for method, runs in found.items() if runs}
        print_gaps(name, found)
        results[name] = found
        save(options.save, results=results)


if __name__ == "__main__":
    main()
