"""Means and numbers of components that are found among uniform noise.

    python benchmarks/bench_noise.py --save noise.json

Samples come from random mixtures whose components are at least seven standard
deviations apart, and noise, 5, 20 or 40 % of all, from a box one and a half times as
wide as they reach. "covered" says how often the errors of the means, as sums of
Mahalanobis squares times the numbers of samples, stay below the 99 % quantile of
chi-squared, as they would if it was known which sample is from where; "right K" how
often KeOpsGaussianMixtureCV finds the number of components. "noise" is with
noise="uniform", "none" without, and "known start" with it and from the true
components. Settings were tuned on seeds from 1000 on; figures are of seeds from 0 on.
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from common import add_save, save
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV

SETTINGS = {
    "3 components, 2 features": (3, 2, 1000, 50.0),
    "8 components, 2 features": (8, 2, 2000, 50.0),
    "5 of unequal weights, 2 features": (5, 2, 1500, 3.0),
    "4 components, 5 features": (4, 5, 1500, 10.0),
    "5 components, 10 features": (5, 10, 2000, 10.0),
}
APART, WIDER, LEAST = 7.0, 1.5, 0.05


def drawn(setting, share, seed):
    """Return samples, the mixture that they are from, and labels, -1 for noise."""
    n_components, n_features, n_samples, concentration = setting
    rng = np.random.default_rng(seed)
    weights = np.zeros(n_components)
    while weights.min() < LEAST:
        weights = rng.dirichlet(np.full(n_components, concentration))
    roots = [random_root(rng, n_features) for _ in range(n_components)]
    means = apart(rng, roots, n_features)
    counts = rng.multinomial(n_samples, [share, *(1 - share) * weights])
    labels = np.repeat(np.arange(-1, n_components), counts)
    X = np.empty((n_samples, n_features))
    for j, (mean, root) in enumerate(zip(means, roots, strict=True)):
        X[labels == j] = mean + rng.normal(size=(counts[j + 1], n_features)) @ root.T
    own = X[labels >= 0]
    middle, half = (own.max(0) + own.min(0)) / 2, (own.max(0) - own.min(0)) / 2
    low, high = middle - WIDER * half, middle + WIDER * half
    X[labels < 0] = rng.uniform(low, high, size=(counts[0], n_features))
    return X, (weights, means, [root @ root.T for root in roots]), labels


def random_root(rng, n_features):
    """Return a root of a covariance, with axes of unequal lengths."""
    rotation, _ = np.linalg.qr(rng.normal(size=(n_features, n_features)))
    return rotation * rng.uniform(0.5, 2.0, size=n_features)


def apart(rng, roots, n_features):
    """Return means that are far from each other for both of their covariances."""
    width, means = 10.0, []
    while len(means) < len(roots):
        mean, root = rng.uniform(-width, width, size=n_features), roots[len(means)]
        far = [
            min(np.linalg.norm(np.linalg.solve(r, mean - other)) for r in (root, own))
            > APART
            for other, own in zip(means, roots, strict=False)
        ]
        if all(far):
            means.append(mean)
        width *= 1.02
    return np.array(means)


def is_covered(found, truth, labels):
    """Tell whether the errors of the means are such as of labelled samples."""
    _, means, covariances = truth
    counts = np.bincount(labels[labels >= 0], minlength=len(means))
    squares = np.array(
        [
            count * np.einsum("kd,dk->k", found - m, np.linalg.solve(c, (found - m).T))
            for m, c, count in zip(means, covariances, counts, strict=True)
        ]
    )
    rows, columns = linear_sum_assignment(squares)
    return bool(squares[rows, columns].sum() < chi2.ppf(0.99, means.size))


def fits(X, truth, n_components, seed):
    """Yield names, and mixtures of the true number of components."""
    settings = {"max_iter": 1000, "tol": 1e-6, "random_state": seed}
    weights, means, covariances = truth
    start = {
        "weights_init": weights,
        "means_init": means,
        "precisions_init": np.linalg.inv(covariances),
    }
    for name, own in (
        ("noise", {"noise": "uniform"}),
        ("none", {}),
        ("known start", {"noise": "uniform", **start}),
    ):
        began = perf_counter()
        mixture = KeOpsGaussianMixture(n_components, **settings, **own).fit(X)
        yield name, mixture, perf_counter() - began


def run(setting, share, seed, *, choose):
    """Return what each method comes to with one draw."""
    X, truth, labels = drawn(setting, share, seed)
    n_components = setting[0]
    found = {}
    for name, mixture, seconds in fits(X, truth, n_components, seed):
        covered = is_covered(mixture.means_, truth, labels)
        found[name] = {"covered": covered, "seconds": seconds}
        found[name]["noise weight"] = getattr(mixture, "noise_weight_", 0.0)
    for name in ("noise", "none") if choose else ():
        noise = "uniform" if name == "noise" else None
        chosen = KeOpsGaussianMixtureCV(noise=noise, random_state=seed).fit(X)
        found[name]["right K"] = chosen.n_components_ == n_components
    return found


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--no-choice", action="store_true", help="fits of known K only")
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    first, n_seeds = arguments.first_seed, arguments.seeds
    for name, setting in SETTINGS.items():
        for share in (0.05, 0.2, 0.4):
            runs = [
                run(setting, share, seed, choose=not arguments.no_choice)
                for seed in range(first, first + n_seeds)
            ]
            for method in runs[0]:
                figures = {
                    figure: round(float(np.mean([r[method][figure] for r in runs])), 4)
                    for figure in runs[0][method]
                }
                rows.append({"data": name, "share": share, "method": method} | figures)
                shown = "  ".join(f"{k} {v:6.3f}" for k, v in figures.items())
                print(f"{name:34}{share:5.0%}  {method:12}{shown}", flush=True)
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
