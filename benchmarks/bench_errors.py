"""How often confidence intervals hold the truth, and how long a bootstrap takes.

Coverage: draws from three Gaussians of three features that hardly overlap, 1,200
samples, of which each component has 240 or more; a fit to each without pooling; and
how many of the intervals of 95 % hold the true parameter, on the scales of
`StandardErrors.intervals` (`--draws` of them), and between quantiles of a bootstrap
(`--bootstraps` draws with `--resamples` each). The standard error of a coverage is
that over the draws.

Time: `--time` resamples of 10,000 samples of three features with ten components.

python benchmarks/bench_errors.py --save errors.json
"""

import argparse
import time

import numpy as np
from common import add_save, save

from sklearn_keops_gmm import KeOpsGaussianMixture

WEIGHTS = np.array([0.2, 0.3, 0.5])
MEANS = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 3.0], [0.0, 7.0, -3.0]])
ROOTS = np.array(
    [
        [[1.0, 0.0, 0.0], [0.5, 0.8, 0.0], [0.0, -0.3, 1.2]],
        [[0.7, 0.0, 0.0], [0.0, 1.1, 0.0], [0.4, 0.4, 0.6]],
        [[1.3, 0.0, 0.0], [-0.6, 0.9, 0.0], [0.2, 0.0, 0.8]],
    ]
)
COVARIANCES = ROOTS @ ROOTS.transpose(0, 2, 1)
N_SAMPLES = 1200


def main():
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--bootstraps", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=199)
    parser.add_argument("--time", type=int, default=999)
    parser.add_argument("--n-jobs", type=int, default=2)
    add_save(parser)
    given = parser.parse_args()
    results = {
        "information": coverage(given.draws, lambda m, X: m.standard_errors(X)),
        "bootstrap": coverage(
            given.bootstraps,
            lambda m, X: m.bootstrap(X, given.resamples, n_jobs=given.n_jobs),
        ),
        "time": resampling_time(given.time, given.n_jobs),
    }
    for method in ("information", "bootstrap"):
        for name, (share, error) in results[method].items():
            print(f"{method:12} {name:12} {100 * share:5.1f} +- {100 * error:.1f} %")
    print(f"{given.time} resamples: {results['time']['seconds']:.1f} s")
    settings = {k: v for k, v in vars(given).items() if k != "save"}
    save(given.save, settings=settings, results=results)


def draw(rng):
    """Return samples."""
    labels = rng.choice(3, size=N_SAMPLES, p=WEIGHTS)
    normal = rng.normal(size=(N_SAMPLES, 3))
    return MEANS[labels] + np.einsum("nab,nb->na", ROOTS[labels], normal)


def coverage(n_draws, method):
    """Return how often intervals hold the truth, and the error of that, by kind."""
    spreads = np.sqrt(np.diagonal(COVARIANCES, axis1=1, axis2=2))
    rho = COVARIANCES / (spreads[:, :, None] * spreads[:, None, :])
    truth = {
        "weights": WEIGHTS,
        "means": MEANS,
        "variances": spreads**2,
        "correlations": rho,
    }
    apart = np.triu_indices(3, 1)
    held = {name: [] for name in truth}
    for seed in range(n_draws):
        X = draw(np.random.default_rng(seed))
        model = KeOpsGaussianMixture(
            3, means_init=MEANS, tol=1e-8, max_iter=1000, random_state=seed
        ).fit(X)
        for name, ends in method(model, X).intervals()._asdict().items():
            inside = (ends[..., 0] <= truth[name]) & (truth[name] <= ends[..., 1])
            if name == "correlations":
                inside = inside[:, *apart]
            held[name].append(inside.mean())
    return {
        name: (np.mean(shares), np.std(shares) / np.sqrt(n_draws))
        for name, shares in held.items()
    }


def resampling_time(n_resamples, n_jobs):
    """Return how long a bootstrap of ten components takes."""
    rng = np.random.default_rng(0)
    centres = 6.0 * rng.normal(size=(10, 3))
    X = centres[rng.integers(10, size=10_000)] + rng.normal(size=(10_000, 3))
    model = KeOpsGaussianMixture(10, means_init=centres, tol=1e-7, max_iter=1000).fit(X)
    model.bootstrap(X, 4, random_state=0, n_jobs=n_jobs)  # starts the processes
    start = time.perf_counter()
    model.bootstrap(X, n_resamples, random_state=0, n_jobs=n_jobs)
    return {"resamples": n_resamples, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
