"""Fits to incomplete samples beside fits to samples that were filled in first.

    python benchmarks/bench_missing.py --save missing.json

Iris, wine, breast cancer (its 10 means) and digits (16 principal components), features
of variance 1. Half of the samples train, and 10, 30 or 50 % of their numbers are left
out at random; the other half is complete, and its mean log-likelihood is what counts.
K is the number of labels, and the covariance type that of the lowest BIC on complete
data; all fits have the same settings and seeds.

"marginal" is the fit to what is observed; "mean", "knn" and "iterative" fill in by
SimpleImputer, KNNImputer and IterativeImputer, and then fit. "means" and "covariances"
are errors of parameters: of the means of components, matched with those of the fit to
the complete training samples, root mean square in standard deviations of features; and
of the covariance of the whole mixture, Frobenius norm beside that of the training
samples. Figures are means over the seeds.
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from common import add_save, save
from scipy.optimize import linear_sum_assignment
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import KeOpsGaussianMixture

IMPUTERS = {
    "marginal": lambda seed: None,
    "mean": lambda seed: SimpleImputer(),
    "knn": lambda seed: KNNImputer(),
    "iterative": lambda seed: IterativeImputer(max_iter=20, random_state=seed),
}


def real_data():
    """Yield names, samples and numbers of labels."""
    X, _ = datasets.load_iris(return_X_y=True)
    yield "iris", standardised(X), 3
    X, _ = datasets.load_wine(return_X_y=True)
    yield "wine", standardised(X), 3
    X, _ = datasets.load_breast_cancer(return_X_y=True)
    yield "breast cancer, means", standardised(X[:, :10]), 2
    X, _ = datasets.load_digits(return_X_y=True)
    components = PCA(16, random_state=0).fit_transform(X)
    yield "digits, 16 PCs", standardised(components), 10


def standardised(X):
    """Return features of mean 0 and variance 1."""
    return StandardScaler().fit_transform(X)


def best_settings(X, n_components):
    """Return the settings of the covariance type of the lowest BIC."""
    settings = [
        {
            "n_components": n_components,
            "covariance_type": covariance_type,
            "reg_covar": "auto",
            "covariance_pooling": "auto",
            "max_iter": 500,
            "tol": 1e-4,
        }
        for covariance_type in ("full", "tied", "diag", "spherical")
    ]
    return min(settings, key=lambda given: fitted(given, X, 0).bic(X))


def fitted(settings, X, seed):
    """Return the mixture that is fitted to some samples."""
    return KeOpsGaussianMixture(**settings, random_state=seed).fit(X)


def matrices(mixture):
    """Return a covariance matrix for each component."""
    covariances, eye = mixture.covariances_, np.eye(mixture.n_features_in_)
    if mixture.covariance_type in ("diag", "spherical"):
        covariances = covariances.reshape(mixture.n_components_, -1, 1) * eye
    return np.broadcast_to(covariances, (mixture.n_components_, *eye.shape))


def errors(mixture, complete, X):
    """Return those of the parameters, of means and of covariances."""
    squares = (mixture.means_[:, None] - complete.means_) ** 2
    rows, columns = linear_sum_assignment(squares.sum(axis=2))
    means = np.sqrt(squares[rows, columns].mean())
    centred = mixture.means_ - mixture.weights_ @ mixture.means_
    whole = np.einsum("j,jab->ab", mixture.weights_, matrices(mixture))
    whole += (mixture.weights_[:, None] * centred).T @ centred
    own = np.cov(X.T, bias=True)
    return means, np.linalg.norm(whole - own) / np.linalg.norm(own)


def run(X, settings, share, seed):
    """Return what each method comes to with one half and one pattern of gaps."""
    rng = np.random.default_rng(seed)
    train, test = np.array_split(rng.permutation(len(X)), 2)
    gaps = X[train].copy()
    gaps[rng.random(gaps.shape) < share] = np.nan
    complete = fitted(settings, X[train], seed)
    found = {"complete": [complete.score(X[test]), 0.0, 0.0, 0.0]}
    for method, make in IMPUTERS.items():
        began, imputer = perf_counter(), make(seed)
        filled = gaps if imputer is None else imputer.fit_transform(gaps)
        mixture = fitted(settings, filled, seed)
        seconds = perf_counter() - began
        of_parameters = errors(mixture, complete, X[train])
        found[method] = [mixture.score(X[test]), *of_parameters, seconds]
    return found


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="+", help="words that names begin with")
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, X, n_components in real_data():
        if arguments.data and not name.startswith(tuple(arguments.data)):
            continue
        settings = best_settings(X, n_components)
        print(f"{name}: {n_components} x {settings['covariance_type']}", flush=True)
        for share in (0.1, 0.3, 0.5):
            runs = [run(X, settings, share, s) for s in range(arguments.seeds)]
            for method in runs[0]:
                figures = np.mean([found[method] for found in runs], axis=0)
                numbers = dict(
                    zip(
                        ("held out", "means", "covariances", "seconds"),
                        figures.round(4).tolist(),
                        strict=True,
                    )
                )
                rows.append(
                    {"data": name, "missing": share, "method": method} | numbers
                )
                print(
                    f"{name:22}{share:5.0%}  {method:10}"
                    + "".join(f"{number:9.3f}" for number in figures),
                    flush=True,
                )
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
