"""The table of README.rst: how long it takes to choose K, and which K is found.

scikit-learn is asked as its own example on model selection does it: a mixture for each
number of components up to the bound and each of its four covariance types, and the
least BIC. Ours is one fit of KeOpsGaussianMixtureCV with covariance_type="auto". Both
are timed by the wall clock, one after the other, on the same data and the same threads.

python benchmarks/bench_readme.py --save results/readme.json
"""

import argparse
import time
import warnings

import numpy as np
from common import add_save, save
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

TYPES = ("full", "tied", "diag", "spherical")


def data_sets():
    """Yield names, samples and the true number, as far as there is one."""
    yield "iris, 150 × 4", datasets.load_iris().data, 3
    wine = StandardScaler().fit_transform(datasets.load_wine().data)
    yield "wine, 178 × 13", wine, 3
    digits = PCA(16, random_state=0).fit_transform(datasets.load_digits().data)
    yield "digits, 1,797 × 16", digits, 10
    rng = np.random.default_rng(0)
    centres = rng.uniform(-12, 12, size=(12, 3))
    drawn = centres[rng.integers(12, size=20_000)] + rng.normal(size=(20_000, 3))
    yield "12 Gaussians, 20,000 × 3", drawn, 12


def scikit_learn(X, most):
    """Return the number with the least BIC, and the seconds it took to find it."""
    start = time.perf_counter()
    best = np.inf, 0
    for kind in TYPES:
        for n_components in range(1, most + 1):
            model = GaussianMixture(n_components, covariance_type=kind, random_state=0)
            best = min(best, (model.fit(X).bic(X), n_components))
    return best[1], time.perf_counter() - start


def ours(X, most):
    """Return the number that is found, and the seconds it took."""
    start = time.perf_counter()
    model = KeOpsGaussianMixtureCV(most, covariance_type="auto", random_state=0).fit(X)
    return model.n_components_, time.perf_counter() - start


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=30, help="components at most")
    add_save(parser)
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", UserWarning)
    ours(datasets.load_iris().data, 3)  # loads what is loaded once
    rows = []
    for name, X, true in data_sets():
        found, seconds = ours(X, given.most)
        theirs, their_seconds = scikit_learn(X, given.most)
        rows.append(
            {
                "data": name,
                "K true": true,
                "ours": {"K": found, "seconds": seconds},
                "scikit-learn": {"K": theirs, "seconds": their_seconds},
            }
        )
        print(
            f"{name:26} scikit-learn {their_seconds:6.2f} s, K {theirs:2}   "
            f"ours {seconds:6.2f} s, K {found:2}   true {true}",
            flush=True,
        )
    save(given.save, most=given.most, results=rows)


if __name__ == "__main__":
    main()
