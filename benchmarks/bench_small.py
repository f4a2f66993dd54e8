"""Calls for so few samples that what surrounds the arithmetic takes the time.

    OMP_NUM_THREADS=1 python benchmarks/bench_small.py

Microseconds of the processor, the least of some rounds in which we and scikit-learn
take turns, in one process and on one thread: fits of 100 x 2 samples with two
components, each of as many iterations; a step more of EM; and predictions for one row.
Then fits of ten iterations with all types of covariances, to these samples and others.

Then the first pass over 2000 pieces, and a pass for a step, in microseconds a piece.
"""

import argparse
import warnings
from time import process_time

import numpy as np
import torch
from common import add_save, save
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixture

CLASSES = {"scikit-learn": GaussianMixture, "ours": KeOpsGaussianMixture}
# Iterations of the fits; the last two tell what a step takes.
ITERATIONS = (1, 10, 110)
TYPES = ("full", "tied", "diag", "spherical")
METHODS = ("predict", "score_samples", "predict_proba")
PIECES, FEATURES, ROWS = 2000, 4, (5, 50)


def least(calls, rounds, n_calls):
    """Return the least microseconds of each of some calls, which take turns."""
    found = dict.fromkeys(calls, np.inf)
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            begin = process_time()
            for _ in range(n_calls):
                call()
            spent = 1e6 * (process_time() - begin) / n_calls
            found[name] = min(found[name], spent)
    return found


def two_groups():
    """Return 100 samples of two features, from two Gaussians."""
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[50:] += 2
    return X


def fits(rounds):
    """Return a row for each kind of start and number of iterations."""
    X = two_groups()
    given = {
        "weights_init": [0.5, 0.5],
        "means_init": X[[0, 99]],
        "precisions_init": np.tile(np.eye(2), (2, 1, 1)),
    }
    rows = []
    for start, arrays in (("k-means", {}), ("given", given)):
        for n_iter in ITERATIONS:
            how = {"max_iter": n_iter, "tol": 0.0, "random_state": 0, **arrays}
            models = {name: made(2, **how) for name, made in CLASSES.items()}
            calls = {name: _fit(model, X) for name, model in models.items()}
            times = least(calls, rounds, 200 // n_iter + 2)
            rows.append({"start": start, "iterations": n_iter, **times})
    for start in ("k-means", "given"):
        ten, more = (row for row in rows if row["start"] == start and _is_long(row))
        steps = more["iterations"] - ten["iterations"]
        of_one = {name: (more[name] - ten[name]) / steps for name in CLASSES}
        rows.append({"start": start, "iterations": "one more", **of_one})
    return rows


def types(rounds):
    """Return a row for fits of ten iterations of each type, to some data."""
    rng = np.random.default_rng(1)
    ten = (
        rng.normal(size=(1000, 10)) + 2 * rng.normal(size=(5, 10))[np.arange(1000) % 5]
    )
    rows = []
    for name, X, M in (
        ("two groups", two_groups(), 2),
        ("iris", load_iris().data, 3),
        ("five groups", ten, 5),
    ):
        for covariance_type in TYPES:
            how = {"max_iter": 10, "tol": 0.0, "random_state": 0}
            how["covariance_type"] = covariance_type
            means = X[np.linspace(0, len(X) - 1, M).astype(int)]
            precisions = {
                "full": np.tile(np.eye(X.shape[1]), (M, 1, 1)),
                "tied": np.eye(X.shape[1]),
                "diag": np.ones((M, X.shape[1])),
                "spherical": np.ones(M),
            }[covariance_type]
            given = {
                "weights_init": np.full(M, 1 / M),
                "means_init": means,
                "precisions_init": precisions,
            }
            for start, arrays in (("k-means", {}), ("given", given)):
                models = {n: made(M, **how, **arrays) for n, made in CLASSES.items()}
                calls = {n: _fit(model, X) for n, model in models.items()}
                times = least(calls, rounds, 15)
                ratio = times["ours"] / times["scikit-learn"]
                of = {"data": name, "type": covariance_type, "start": start}
                rows.append({**of, **times, "ratio": ratio})
    return rows


def _fit(model, X):
    return lambda: model.fit(X)


def _is_long(row):
    return row["iterations"] in ITERATIONS[1:]


def predictions(rounds):
    """Return a row for each method that is asked about one sample."""
    X = two_groups()
    models = {name: made(2, random_state=0).fit(X) for name, made in CLASSES.items()}
    rows = []
    for method in METHODS:
        calls = {name: _ask(model, method, X[:1]) for name, model in models.items()}
        rows.append({"method": method, **least(calls, rounds, 300)})
    return rows


def _ask(model, method, X):
    return lambda: getattr(model, method)(X)


def pieces(rounds):
    """Return a row for pieces of some sizes, with weights and without."""
    rng = np.random.default_rng(0)
    rows = []
    for n_rows in ROWS:
        X = [rng.normal(size=(n_rows, FEATURES)) for _ in range(PIECES)]
        weights = [rng.uniform(size=n_rows) for _ in range(PIECES)]
        for weighted in (False, True):
            # A fit of n iterations is the first pass, n + 1 others, and a start by
            # k-means.
            how = {"tol": 0.0, "random_state": 0, "init_params": "random_from_data"}
            fits = {
                n_iter: _fit_pieces(n_iter, how, X, weights if weighted else None)
                for n_iter in (1, 3)
            }
            found = least(fits, rounds, 1)
            each = (found[3] - found[1]) / 2
            first = found[1] - 2 * each
            rows.append(
                {
                    "rows": n_rows,
                    "weighted": weighted,
                    "first pass": first / PIECES,
                    "step": each / PIECES,
                }
            )
    return rows


def _fit_pieces(n_iter, how, X, weights):
    model = KeOpsGaussianMixture(3, max_iter=n_iter, **how)
    return lambda: model.fit(X, sample_weight=weights)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        found = {
            "fits": fits(arguments.rounds),
            "types": types(arguments.rounds),
            "predictions": predictions(arguments.rounds),
            "pieces": pieces(3),
        }
    for rows in found.values():
        for row in rows:
            shown = (
                f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()
            )
            print(", ".join(f"{k} {v}" for k, v in zip(row, shown, strict=True)))
    save(arguments.save, **found)


if __name__ == "__main__":
    main()
