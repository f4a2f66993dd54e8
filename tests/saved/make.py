"""Save models of this version for the tests of the next: run it at each release.

    python -m tests.saved.make

It writes a folder named after the version, with a file for each model in each format,
pickle and skops: a pair of the model, and the log-likelihoods that it gives to the data
of iris.
"""

import pickle
from pathlib import Path
from zipfile import ZIP_DEFLATED

import numpy as np
import sklearn
import torch

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    SparsityPath,
    __version__,
    sparsity_path,
)
from tests.common import iris
from tests.reference import COVARIANCE_TYPES
from tests.saved.priors import total_precision

FOLDER = Path(__file__).with_name(__version__)


def models():
    """Return a model of each class, and those that save something of their own."""
    X = iris()
    given = {"sparsity": 3.0, "reg_covar": 0.01, "random_state": 0}
    mixture = KeOpsGaussianMixture(5, **given)
    found = {
        name: KeOpsGaussianMixture(5, covariance_type=name, **given).fit(X)
        for name in COVARIANCE_TYPES
    }
    prior = KeOpsGaussianMixture(3, prior=total_precision, solver="lbfgs", **given)
    found["prior"] = prior.fit(X)
    found["memory"] = KeOpsGaussianMixture(5, **given).fit(X[::2]).partial_fit(X[1::2])
    found["float32"] = KeOpsGaussianMixture(5, **given).fit(X.astype(np.float32))
    with sklearn.config_context(array_api_dispatch=True):
        found["tensors"] = mixture.fit(torch.tensor(X))
    found["choice"] = KeOpsGaussianMixtureCV(4, random_state=0).fit(X)
    found["path"] = sparsity_path(X, 4, random_state=0)
    return found


def log_likelihoods(model):
    """Return those of the data as a model saw them; of a path, of its second."""
    X = iris()
    if isinstance(model, SparsityPath):
        return model.mixtures[1].score_samples(X)
    if isinstance(model.means_, torch.Tensor):
        with sklearn.config_context(array_api_dispatch=True):
            return model.score_samples(torch.tensor(X)).numpy()
    return model.score_samples(X.astype(model.means_.dtype))


def main():
    import skops.io

    FOLDER.mkdir(exist_ok=True)
    for name, model in models().items():
        content = model, log_likelihoods(model)
        (FOLDER / f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=4))
        data = skops.io.dumps(content, compression=ZIP_DEFLATED, compresslevel=9)
        (FOLDER / f"{name}.skops").write_bytes(data)


if __name__ == "__main__":
    main()
