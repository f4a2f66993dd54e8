"""Bad input: a clear error, scikit-learn's own where it has one, before any work."""

import re

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import (
    SOLVERS,
    blobs,
    every_backend,
    iris,
    new_scikit_learn,
    precisions,
    start,
)
from tests.reference import COVARIANCE_TYPES, STRUCTURES

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def with_entry(value):
    X = iris().copy()
    X[7, 2] = value
    return X


def error_of(call):
    """Return the type and text of the error that `call` raises, names left out."""
    try:
        call()
    except Exception as error:
        text = str(error).replace("KeOpsGaussianMixture", "GaussianMixture")
        return type(error), re.sub(r"^Input [\w ]+ contains", "Input contains", text)
    raise AssertionError("no error was raised")


def assert_same_error(given, X):
    """Both classes refuse `X`, or the parameters, in the same words."""
    expected = error_of(lambda: GaussianMixture(**given).fit(X))
    for solver in SOLVERS:
        found = error_of(lambda: KeOpsGaussianMixture(solver=solver, **given).fit(X))  # noqa: B023
        assert found == expected


BAD_DATA = {
    "inf": with_entry(np.inf),
    "-inf": with_entry(-np.inf),
    "one dimension": iris()[:, 0],
    "three dimensions": iris()[None],
    "scalar": np.float64(3.0),
    "empty": iris()[:0],
    "no features": iris()[:, :0],
    "one sample": iris()[:1],
    "fewer samples than components": iris()[:2],
    "sparse": csr_matrix(iris()),
    "complex": iris() + 1j,
    "strings": np.array([["a", "b"], ["c", "d"], ["e", "f"]]),
    "objects": np.array([[1.0, "x"]] * 4, dtype=object),
}

BAD_PARAMETERS = {
    "n_components": [0, -1, 1.5, "three"],
    "tol": [-1.0, "small"],
    "max_iter": [-1, 2.5],
    "n_init": [0],
    "random_state": ["banana"],
    "warm_start": ["yes"],
    "verbose": ["loud"],
    "verbose_interval": [0],
}

OWN_PARAMETERS = {
    "sparsity": ([-1.0, "much", np.nan], ["in the range [0.0, inf)"]),
    "covariance_type": (["banana", None], [f"{name!r}" for name in COVARIANCE_TYPES]),
    "reg_covar": ([-1e-6, "small"], ["in the range [0.0, inf)", "'auto'"]),
    "covariance_pooling": ([-1.0, "much"], ["in the range [0.0, inf)", "'auto'"]),
    "prior": ([3.0, "sparse"], ["a callable", "None"]),
    "solver": (["banana", None], ["'em'", "'adam'", "'lbfgs'"]),
    "acceleration": (["banana", True], ["'squarem'", "None"]),
    "init_params": (["banana", None], ["'kmeans'", "'random'", "'merge'"]),
    "init_size": ([0, -1, 2.5, "all"], ["'auto'", "int in the range [1, inf)", "None"]),
    "batch_size": ([0, -3, 2.5, "all"], ["an int in the range [1, inf) or None"]),
    "backend": (["banana", None], ["'auto'", "'keops'", "'torch'"]),
    "learning_decay": ([0.5, 1.1, "slow"], ["in the range (0.5, 1.0]"]),
    "learning_offset": ([-1.0, "late"], ["in the range [0.0, inf)"]),
    "learning_rate": ([0.0, -0.1, "fast"], ["in the range (0.0, inf)"]),
}


def bad_cells(table):
    """Flatten a table of bad values into (name, value) cells with readable names."""
    return [
        pytest.param(name, value, id=f"{name}={value!r}")
        for name, values in table.items()
        for value in values
    ]


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(name):
    assert_same_error({"n_components": 3}, BAD_DATA[name])


@pytest.mark.parametrize(("name", "value"), bad_cells(BAD_PARAMETERS))
def test_bad_parameters(name, value):
    assert_same_error({name: value}, iris())


@pytest.mark.parametrize(
    ("name", "value"),
    bad_cells({name: values for name, (values, _) in OWN_PARAMETERS.items()}),
)
def test_bad_parameters_of_our_own(name, value):
    """The text says which parameter, what is accepted and what was given."""
    model = KeOpsGaussianMixture(**{name: value})
    kind, text = error_of(lambda: model.fit(iris()))
    assert issubclass(kind, ValueError)
    assert f"The {name!r} parameter of GaussianMixture must be" in text
    assert f"Got {value!r} instead" in text
    assert all(accepted in text for accepted in OWN_PARAMETERS[name][1])


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "em"])
def test_acceleration_of_another_solver(solver):
    text = f"acceleration='squarem' is for solver='em', but got solver='{solver}'"
    with pytest.raises(ValueError, match=text):
        KeOpsGaussianMixture(3, solver=solver, acceleration="squarem").fit(iris())


def test_init_size_below_components():
    text = "init_size >= n_components but got n_components = 3, init_size = 2"
    with pytest.raises(ValueError, match=text):
        KeOpsGaussianMixture(3, init_size=2).fit(iris())


@pytest.mark.parametrize(
    "weights",
    [np.ones(2) / 2, np.ones((3, 1)) / 3, np.ones(3), [np.nan, 0.5, 0.5]],
    ids=["short", "column", "sum", "nan"],
)
def test_bad_weights_init(weights):
    assert_same_error({"n_components": 3, "weights_init": weights}, iris())


def test_negative_weights_init():
    """Here scikit-learn's text mistakes the largest for the smallest."""
    text = r"'weights' should be in the range \[0, 1\], but got max.*0\.7.*min.*-0\.2"
    with pytest.raises(ValueError, match=text):
        KeOpsGaussianMixture(3, weights_init=[0.5, 0.7, -0.2]).fit(iris())


@pytest.mark.parametrize(
    "means",
    [np.ones((2, 4)), np.ones((3, 3)), np.ones(12), np.full((3, 4), np.inf)],
    ids=["rows", "columns", "flat", "inf"],
)
def test_bad_means_init(means):
    assert_same_error({"n_components": 3, "means_init": means}, iris())


@every_covariance_type
@pytest.mark.parametrize("other", COVARIANCE_TYPES)
def test_bad_shape_of_precisions_init(structure, other):
    wrong = precisions(other, 1.0, 2, 3)
    right = precisions(structure, 1.0, 3, 4)
    text = (
        f"The parameter '{structure} precision' should have the shape of "
        f"{right.shape}, but got {wrong.shape}"
    )
    if wrong.shape == right.shape:
        return
    given = {"covariance_type": structure, "precisions_init": wrong}
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        KeOpsGaussianMixture(3, **given).fit(iris())


@every_structure
@pytest.mark.parametrize("scale", [-1.0, 0.0, np.nan, np.inf])
def test_precisions_init_not_positive(structure, scale):
    wrong = precisions(structure, 1.0, 3, 4)
    wrong[-1:] = np.where(wrong[-1:] == 0, 0.0, scale)
    given = {"n_components": 3, "covariance_type": structure}
    assert_same_error(given | {"precisions_init": wrong}, iris())


@pytest.mark.parametrize("structure", ["full", "tied"])
def test_precisions_init_not_symmetric(structure):
    wrong = precisions(structure, 1.0, 3, 4)
    wrong[..., 0, 1] = 0.5
    given = {"n_components": 3, "covariance_type": structure}
    assert_same_error(given | {"precisions_init": wrong}, iris())


METHODS = ["predict", "predict_proba", "score", "score_samples", "aic", "bic"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "X",
    [
        with_entry(np.inf),
        iris()[:, :3],
        iris()[0],
        csr_matrix(iris()),
    ],
    ids=["inf", "columns", "one dimension", "sparse"],
)
def test_bad_data_after_the_fit(method, X):
    errors = [
        error_of(lambda: getattr(model, method)(X))  # noqa: B023
        for model in (
            GaussianMixture(2, random_state=0).fit(iris()),
            KeOpsGaussianMixture(2, random_state=0).fit(iris()),
        )
    ]
    assert errors[0] == errors[1]


@pytest.mark.parametrize("method", METHODS)
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="KeOpsGaussianMixture"):
        getattr(KeOpsGaussianMixture(), method)(iris())


def test_sample_not_fitted():
    with pytest.raises(NotFittedError, match="KeOpsGaussianMixture"):
        KeOpsGaussianMixture().sample()


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_is_asked_for_and_absent(backend):
    model = KeOpsGaussianMixture(device="cuda", backend=backend)
    with pytest.raises((ValueError, RuntimeError), match=r"device='cuda'.*CUDA"):
        model.fit(iris())
    assert not hasattr(model, "means_")


def test_one_more_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"device='cuda:2'.*finds 2 CUDA devices"):
        KeOpsGaussianMixture(device="cuda:2").fit(iris())


def test_unknown_device():
    with pytest.raises(ValueError, match=r"device.*banana"):
        KeOpsGaussianMixture(device="banana").fit(iris())


def test_unknown_backend_after_the_fit():
    model = KeOpsGaussianMixture().fit(iris()).set_params(backend="nativ")
    with pytest.raises(ValueError, match=r"'backend' .*'native', .* Got 'nativ'"):
        model.predict(iris())


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_failed_fit_changes_no_parameter(solver):
    model = KeOpsGaussianMixture(2, solver=solver, means_init=np.ones((3, 3)))
    before = dict(model.get_params())
    with pytest.raises(ValueError, match="means"):
        model.fit(iris())
    for name, value in model.get_params().items():
        assert value is before[name]
    fitted = {name for name in vars(model) if name.endswith("_")}
    assert fitted <= {"n_features_in_"}


def collapsing(structure):
    """Data and a sound start from which one M-step leaves a width of zero."""
    # So far away that their share in the points at the origin is zero in floats.
    X = np.concatenate([blobs() + 60, np.zeros((30, 2))])
    if structure == "tied":
        X[:, 1] = 3.0
    given = start(X, structure, 2, scale=1.0)
    given["means_init"] = np.array([[62.0, 62.0], [0.0, 0.0]])
    return X, given


@every_backend
@every_structure
def test_collapse_ends_no_fit_with_reg_covar(backend, structure):
    X, given = collapsing(structure)
    model = KeOpsGaussianMixture(**given, backend=backend).fit(X)
    assert model.converged_
    assert (model.weights_ > 0.01).all()
    for name in ("weights_", "means_", "covariances_", "costs_"):
        assert np.isfinite(getattr(model, name)).all()
    smallest = {
        "full": lambda c: np.linalg.eigvalsh(c).min(),
        "tied": lambda c: np.linalg.eigvalsh(c).min(),
        "diag": np.min,
        "spherical": np.min,
    }[structure](model.covariances_)
    assert smallest == pytest.approx(1e-6, rel=1e-3)
    peer = GaussianMixture(**given).fit(X)
    np.testing.assert_allclose(model.means_, peer.means_, rtol=1e-6, atol=1e-9)


@new_scikit_learn
@every_backend
@every_structure
@pytest.mark.fast(4)
def test_collapse_without_reg_covar_is_an_error(backend, structure):
    X, given = collapsing(structure)
    given["reg_covar"] = 0.0
    expected = error_of(lambda: GaussianMixture(**given).fit(X))
    assert "ill-defined empirical covariance" in expected[1]
    for solver in ("em", "lbfgs"):
        model = KeOpsGaussianMixture(
            **given, solver=solver, max_iter=500, backend=backend
        )
        assert error_of(lambda: model.fit(X)) == expected  # noqa: B023


@every_covariance_type
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_collapse_with_reg_covar_is_none(structure, dtype):
    """A component for each sample: gradients, too, keep variances above reg_covar."""
    X = np.random.default_rng(0).normal(size=(6, 2)).astype(dtype)
    model = KeOpsGaussianMixture(
        6, covariance_type=structure, solver="lbfgs", reg_covar=1e-3, random_state=0
    ).fit(X)
    assert model.converged_
    if structure not in ("full", "tied"):
        np.testing.assert_allclose(model.covariances_, 1e-3, rtol=1e-3)
    np.testing.assert_allclose(
        np.sort(model.means_, axis=0), np.sort(X, axis=0), atol=1e-3
    )


@pytest.mark.parametrize(
    ("features", "named"), [(slice(0, 2), r"slice\(0, 2"), (None, "None"), (1.5, "1.5")]
)
def test_what_is_no_feature(features, named):
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    message = f"'features' must be an index.*; got {named}.*list"
    with pytest.raises(TypeError, match=message):
        model.marginal(features)
    with pytest.raises(TypeError, match=message):
        model.condition(features, [[0.0]])
    with pytest.raises(TypeError, match=message):
        model.conditional_mean(features, [[0.0]])
