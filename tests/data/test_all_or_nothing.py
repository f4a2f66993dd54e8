"""A fit ends with a finite model, or with an error and the model there was."""

import re

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.common import DENSE_BACKENDS, SOLVERS, blobs
from tests.reference import COVARIANCE_TYPES
from tests.solvers.test_em import error_of_fit

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
ATTRIBUTES = ["weights_", "means_", "covariances_", "precisions_", "cost_", "costs_"]


def fit_or_error(model, X):
    """Fit; where that fails the error is clear, and else all numbers are finite."""
    error = error_of_fit(model, X)
    if error is not None:
        assert re.search("The cost is|ill-defined|not finite|diverged", error)
        assert not hasattr(model, "means_")
        return
    for name in ATTRIBUTES:
        assert np.isfinite(getattr(model, name)).all(), name


@pytest.mark.parametrize("backend", DENSE_BACKENDS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("far", "dtype"),
    [(1e20, np.float32), (1e30, np.float32), (1e155, float), (1e300, float)],
)
@every_structure
@pytest.mark.fast(8)
def test_one_far_sample(structure, far, dtype, solver, backend):
    X = np.random.default_rng(0).normal(size=(26, 10))
    X[5, 1] = far
    model = KeOpsGaussianMixture(
        2,
        covariance_type=structure,
        solver=solver,
        backend=backend,
        reg_covar=1,
        random_state=0,
    )
    fit_or_error(model, X.astype(dtype))


@every_structure
@pytest.mark.parametrize("reg_covar", [0, 1e-6])
@pytest.mark.parametrize("max_iter", [0, 1, 100])
def test_features_of_very_different_scales(structure, reg_covar, max_iter):
    X = np.random.default_rng(0).normal(size=(200, 2)) * [1e200, 1e-200]
    model = KeOpsGaussianMixture(
        2,
        covariance_type=structure,
        reg_covar=reg_covar,
        max_iter=max_iter,
        random_state=0,
    )
    fit_or_error(model, X)


def test_too_narrow_for_the_precision_of_the_data():
    X = (1e-25 * blobs()).astype(np.float32)
    with pytest.raises(ValueError, match=r"precisions_ would hold .* in float32"):
        KeOpsGaussianMixture(2, reg_covar=0, random_state=0).fit(X)


def answers(model, X):
    return np.column_stack([model.score_samples(X), model.predict(X)])


def state(model):
    return {name: value for name, value in vars(model).items() if name[-1] == "_"}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (KeOpsGaussianMixture, r"ill-defined|The cost is"),
        (KeOpsGaussianMixtureCV, r"X varies by less than .* features \[1\]"),
    ],
)
def test_a_failed_fit_leaves_the_model(kind, message):
    X = blobs()
    model = kind(3, random_state=0).fit(X)
    before, expected = state(model), answers(model, X)
    wide = np.random.default_rng(0).normal(size=(200, 3)) * [1e200, 1e-200, 1]
    with pytest.raises(ValueError, match=message):
        model.fit(wide)
    assert state(model) == before
    assert np.array_equal(answers(model, X), expected)


def test_a_failed_step_leaves_the_model_and_its_memory():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0).fit(X).partial_fit(X)
    before, memory = state(model), model._memory
    with pytest.raises(ValueError, match="The cost is inf"):
        model.partial_fit(1e160 * X)
    assert state(model) == before
    assert model._memory is memory


def test_an_interrupted_fit_leaves_the_model():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    before = state(model)

    class Broken(list):
        """Pieces of which the second cannot be read."""

        def __getitem__(self, i):
            if i == 1:
                raise KeyboardInterrupt
            return super().__getitem__(i)

    with pytest.raises(KeyboardInterrupt):
        model.fit(Broken([X[:, :1], X[:, :1]]))
    assert state(model) == before
