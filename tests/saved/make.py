"""Save mixtures of this version for the tests of the next: run it at each release.

    python -m tests.saved.make

It writes a pickle named after the version, of a dictionary from covariance types to
pairs: a fitted mixture, and the log-likelihoods that it gives to the data of iris.
"""

import pickle
from pathlib import Path

import sklearn_keops_gmm
from tests.data import iris
from tests.reference import COVARIANCE_TYPES


def fitted(covariance_type):
    return sklearn_keops_gmm.KeOpsGaussianMixture(
        5, covariance_type=covariance_type, sparsity=3.0, reg_covar=0.01, random_state=0
    ).fit(iris())


def main():
    models = {name: fitted(name) for name in COVARIANCE_TYPES}
    content = {name: (m, m.score_samples(iris())) for name, m in models.items()}
    name = f"{sklearn_keops_gmm.__version__}.pkl"
    Path(__file__).with_name(name).write_bytes(pickle.dumps(content, protocol=4))


if __name__ == "__main__":
    main()
