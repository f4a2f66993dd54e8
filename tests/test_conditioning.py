"""Mixtures over fewer features, against numerical integrals of the joint density."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._data import _query
from sklearn_keops_gmm._model import _regression
from tests import reference
from tests.common import every_backend, iris, mixture_of, new_scikit_learn
from tests.model.test_covariances import make_mixture
from tests.reference import COVARIANCE_TYPES

every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)

# Wide enough for every mixture made here, and fine enough for the trapezoidal rule,
# whose error for Gaussians is exponentially small.
TICKS = np.linspace(-25, 25, 401)
CELL = TICKS[1] - TICKS[0]


def fitted(structure, mixture, names=None, **parameters):
    """A model with the attributes of a mixture, as if it had been fitted."""
    model = KeOpsGaussianMixture(
        len(mixture.weights), covariance_type=structure, **parameters
    )
    factors = reference.factors_of(structure, mixture.covariances)
    model.weights_, model.means_, model.covariances_ = mixture
    model.precisions_cholesky_ = factors
    model.n_features_in_ = mixture.means.shape[1]
    model.converged_ = True
    if names is not None:
        model.feature_names_in_ = np.array(names, dtype=object)
    return model


def model_of(structure, n_features, seed=0, n_components=3, **parameters):
    rng = np.random.default_rng(seed)
    mixture = make_mixture(rng, structure, n_features, n_components)
    return fitted(structure, mixture, **parameters)


def joint_density(model, points):
    mixture = reference.components_of(model.covariance_type, mixture_of(model))
    return np.exp(reference.log_density(points, *mixture).astype(float))


def assert_consistent(model):
    """The attributes describe one mixture, in the shapes of its covariance type."""
    structure = model.covariance_type
    n_components, n_features = model.means_.shape
    shape = KeOpsGaussianMixture(
        n_components, covariance_type=structure, max_iter=1, random_state=0
    ).fit(np.random.default_rng(0).normal(size=(20, n_features)))
    assert model.covariances_.shape == shape.covariances_.shape
    assert model.precisions_cholesky_.shape == shape.covariances_.shape
    expected = reference.factors_of(structure, model.covariances_)
    assert_allclose(model.precisions_cholesky_, expected, rtol=1e-9, atol=1e-12)
    matrices = reference.as_matrices(structure, model.covariances_, model.means_)
    inverses = reference.as_matrices(structure, model.precisions_, model.means_)
    identities = np.tile(np.eye(n_features), (n_components, 1, 1))
    assert_allclose(matrices @ inverses, identities, atol=1e-9)
    assert model.n_components_ == len(model.weights_) == n_components
    assert model.n_features_in_ == n_features
    assert model.weights_.sum() == pytest.approx(1, abs=1e-12)


@every_covariance_type
def test_marginal_is_an_integral(structure, rng):
    model = model_of(structure, 3)
    kept = model.marginal([2, 0])
    assert_consistent(kept)
    points = rng.normal(size=(5, 2)) * 2
    for point, found in zip(points, kept.score_samples(points), strict=True):
        line = np.column_stack(
            (np.full_like(TICKS, point[1]), TICKS, np.full_like(TICKS, point[0]))
        )
        integral = joint_density(model, line).sum() * CELL
        assert np.exp(found) == pytest.approx(integral, rel=1e-9)


@every_covariance_type
@pytest.mark.fast(2)
def test_condition_is_a_quotient(structure, rng):
    """p(b | a) is p(a, b) over its integral over b."""
    model = model_of(structure, 3)
    for value in (-2.0, 0.3, 4.0):
        given = model.condition(1, value)
        assert_consistent(given)
        plane = np.stack(np.meshgrid(TICKS, TICKS), axis=-1).reshape(-1, 2)
        joint = joint_density(model, np.insert(plane, 1, value, axis=1))
        total = joint.sum() * CELL**2
        points = rng.normal(size=(5, 2)) * 2
        expected = joint_density(model, np.insert(points, 1, value, axis=1)) / total
        assert_allclose(np.exp(given.score_samples(points)), expected, rtol=1e-9)
        mean = joint @ plane / joint.sum()
        found = model.conditional_mean(1, [[value]])
        assert_allclose(found, mean[None], rtol=1e-9, atol=1e-12)
        assert_allclose(given.weights_ @ given.means_, mean, rtol=1e-9, atol=1e-12)


@every_backend
@every_covariance_type
def test_conditional_mean_is_an_integral(structure, backend, rng, monkeypatch):
    monkeypatch.setattr(_query, "_PAIRS", 1)
    monkeypatch.setattr(_query, "_MIN_ROWS", 7)
    monkeypatch.setattr(_regression, "_NUMBERS", 5)
    model = model_of(structure, 3, backend=backend)
    X = rng.normal(size=(20, 2)) * 2
    found = model.conditional_mean([2, 0], X)
    assert found.shape == (20, 1)
    for (third, first), mean in zip(X, found, strict=True):
        line = np.column_stack(
            (np.full_like(TICKS, first), TICKS, np.full_like(TICKS, third))
        )
        joint = joint_density(model, line)
        assert mean == pytest.approx(joint @ TICKS / joint.sum(), rel=1e-9, abs=1e-12)


@given(
    seed=st.integers(0, 10**6),
    structure=st.sampled_from(COVARIANCE_TYPES),
    n_features=st.integers(2, 6),
    n_components=st.integers(1, 4),
    data=st.data(),
)
@settings(max_examples=60)
@pytest.mark.slow
def test_chain_rule(seed, structure, n_features, n_components, data):
    """log p(a, b) = log p(a) + log p(b | a), whatever the split."""
    order = data.draw(st.permutations(range(n_features)))
    a, b = np.split(order, [data.draw(st.integers(1, n_features - 1))])
    b = np.sort(b)
    model = model_of(structure, n_features, seed, n_components)
    X = np.random.default_rng(seed).normal(size=(4, n_features)) * 3
    of_a = model.marginal(a).score_samples(X[:, a])
    of_b = [model.condition(a, x[a]).score_samples(x[None, b])[0] for x in X]
    assert_allclose(of_a + of_b, model.score_samples(X), rtol=1e-9, atol=1e-9)
    means = [model.condition(a, x[a]) for x in X]
    means = [mixture.weights_ @ mixture.means_ for mixture in means]
    assert_allclose(model.conditional_mean(a, X[:, a]), means, rtol=1e-8, atol=1e-8)


@every_covariance_type
def test_nested(structure, rng):
    """Marginals of marginals, and conditions on conditions, are those at once."""
    model = model_of(structure, 4)
    X = rng.normal(size=(6, 1))
    found = model.marginal([3, 1, 0]).marginal(1).score_samples(X)
    assert_allclose(found, model.marginal(1).score_samples(X), rtol=1e-10)
    found = model.condition(0, 1.0).condition([0, 2], [0.5, -1.0]).score_samples(X)
    together = model.condition([0, 1, 3], [1.0, 0.5, -1.0]).score_samples(X)
    assert_allclose(found, together, rtol=1e-9)


@every_covariance_type
def test_all_features_permuted(structure, rng):
    model = model_of(structure, 3)
    X = rng.normal(size=(6, 3))
    turned = model.marginal([2, 0, 1])
    assert_allclose(
        turned.score_samples(X[:, [2, 0, 1]]), model.score_samples(X), rtol=1e-10
    )


def test_sample_and_predict():
    model = KeOpsGaussianMixture(3, random_state=0).fit(iris())
    given = model.condition([0, 1], iris()[0, :2])
    points, labels = given.sample(2000)
    assert points.shape == (2000, 2)
    assert_allclose(points.mean(axis=0), given.weights_ @ given.means_, atol=0.05)
    assert set(labels) <= set(range(given.n_components_))
    kept = model.marginal([2, 3])
    pulls = reference.responsibilities(
        iris()[:, 2:], *reference.components_of("full", mixture_of(kept))
    )
    assert_array_equal(kept.predict(iris()[:, 2:]), pulls.argmax(axis=1))


@pytest.mark.slow
def test_what_a_fit_leaves():
    """The new mixture has the parameters, and says that it was not fitted itself."""
    start = {"means_init": iris()[:5], "weights_init": np.full(5, 0.2)}
    model = KeOpsGaussianMixture(5, sparsity=2.0, **start, random_state=0).fit(iris())
    for mixture in (model.marginal([0, 1]), model.condition([2, 3], iris()[0, 2:])):
        assert type(mixture) is KeOpsGaussianMixture
        expected = model.get_params() | dict.fromkeys(start)
        assert mixture.get_params() == expected
        assert (mixture.n_iter_, mixture.costs_, mixture.lower_bounds_) == (0, [], [])
        assert np.isnan(mixture.cost_)
        assert np.isnan(mixture.lower_bound_)
        assert mixture.converged_ is model.converged_
        before = mixture.means_.copy()
        mixture.set_params(warm_start=True).fit(iris()[:, :2])
        assert not np.array_equal(mixture.means_, before)
    assert model.means_.shape[1] == 4


def test_vanished_components_are_left_out():
    means = np.array([[0.0, 0.0], [1000.0, 1.0], [0.0, 2.0]])
    weights = np.array([0.5, 0.25, 0.25])
    mixture = reference.Mixture(weights, means, np.ones(3))
    given = fitted("spherical", mixture).condition(0, 0.0)
    assert_array_equal(given.means_, [[0.0], [2.0]])
    assert_allclose(given.weights_, [2 / 3, 1 / 3])


def test_far_values():
    """A value far from all components still has a conditional mixture."""
    model = model_of("full", 2)
    for value in (1e6, -1e6, 1e200, -1e200):
        expected = model.conditional_mean(0, [[value], [0.0]])[0]
        given = model.condition(0, value)
        assert_allclose(given.weights_ @ given.means_, expected, rtol=1e-6)
        assert (np.abs(expected) > 1e-3 * abs(value)).all()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_float32(offset):
    """Nearly singular covariances in float32: what rounding leaves is still used."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 1))
    data = np.hstack((x, 2 * x + 1e-3 * rng.normal(size=x.shape), -x)) + offset
    data[:, 2] += 1e-2 * rng.normal(size=2000)
    data = data.astype(np.float32)
    model = KeOpsGaussianMixture(2, reg_covar=0, random_state=0).fit(data)
    found = model.conditional_mean([0], data[:, :1])
    assert found.dtype == np.float32
    expected = 2 * (data[:, 0] - offset) + offset
    assert_allclose(found[:, 0], expected, atol=0.01)
    for mixture in (model.marginal([1, 0]), model.condition(2, data[0, 2])):
        assert mixture.means_.dtype == mixture.covariances_.dtype == np.float32


def test_names():
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    model = KeOpsGaussianMixture(3, random_state=0).fit(frame)
    plain = KeOpsGaussianMixture(3, random_state=0).fit(iris())
    kept = model.marginal(["d", "b"])
    assert_array_equal(kept.feature_names_in_, ["d", "b"])
    assert_array_equal(kept.means_, plain.marginal([3, 1]).means_)
    given = model.condition("c", 1.5)
    assert_array_equal(given.feature_names_in_, ["a", "b", "d"])
    found = model.conditional_mean(["d", "b"], frame[["d", "b"]])
    assert_array_equal(found, plain.conditional_mean([3, 1], iris()[:, [3, 1]]))
    with pytest.raises(ValueError, match="feature names"):
        model.conditional_mean(["d", "b"], frame[["b", "d"]])
    assert not hasattr(plain.marginal(0), "feature_names_in_")


@pytest.mark.parametrize(
    "features",
    [
        [1, 3],
        (1, 3),
        [-3, -1],
        np.array([1, 3], dtype=np.uint8),
        [False, True, False, True],
        torch.tensor([1, 3]),
        pd.Index(["b", "d"]),
        np.array(["b", "d"]),
        ["b", 3],
    ],
    ids=repr,
)
def test_ways_to_say_which(features):
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    model = KeOpsGaussianMixture(2, random_state=0).fit(frame)
    assert_array_equal(model.marginal(features).means_, model.means_[:, [1, 3]])


@pytest.mark.parametrize("method", ["marginal", "condition", "conditional_mean"])
@pytest.mark.parametrize(
    ("features", "text"),
    [
        ([], r"one or more different features; got \[\]"),
        ([0, -4], r"one or more different features; got \[0, -4\]"),
        (4, "integers from -4 to 3; got 4"),
        ([1.5], "integers from -4 to 3; got 1.5"),
        ("a", "unknown name 'a': fit has seen no names"),
        ([True, False], "mask as 'features' needs 4 entries, one per feature; got 2"),
        ([True, 0], "integers from -4 to 3; got True"),
    ],
)
def test_bad_features(method, features, text):
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    more = () if method == "marginal" else ([[0.0]],)
    with pytest.raises(ValueError, match=text):
        getattr(model, method)(features, *more)


def test_unknown_name():
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    model = KeOpsGaussianMixture(2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=r"'e': those seen in fit are \['a', 'b'"):
        model.marginal(["a", "e"])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0], r"shape \(2,\).*got \(1,\)"),
        ([[1.0, 2.0]], r"shape \(2,\).*got \(1, 2\)"),
        ([1.0, np.nan], "values contains NaN"),
    ],
)
def test_bad_values(values, text):
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    with pytest.raises(ValueError, match=text):
        model.condition([0, 1], values)


def test_no_feature_left():
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    with pytest.raises(ValueError, match="all 4 features of the mixture"):
        model.condition([0, 1, 2, 3], iris()[0])
    with pytest.raises(ValueError, match="all 4 features of the mixture"):
        model.conditional_mean([0, 1, 2, 3], iris())


def test_not_fitted():
    model = KeOpsGaussianMixture()
    for call in (
        lambda: model.marginal(0),
        lambda: model.condition(0, 1.0),
        lambda: model.conditional_mean(0, [[1.0]]),
    ):
        with pytest.raises(NotFittedError, match="KeOpsGaussianMixture"):
            call()


def test_wrong_number_of_columns():
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    with pytest.raises(ValueError, match=r"X has 4 features.* expecting 2"):
        model.conditional_mean([0, 1], iris())


@new_scikit_learn
def test_tensors(device):
    X = torch.tensor(iris(), device=device)
    model = KeOpsGaussianMixture(3, random_state=0).fit(iris())
    expected = model.conditional_mean([0, 1], iris()[:, :2])
    with sklearn.config_context(array_api_dispatch=True):
        model = KeOpsGaussianMixture(3, random_state=0).fit(X)
        found = model.conditional_mean([0, 1], X[:, :2])
        assert isinstance(found, torch.Tensor)
        assert found.device == X.device
        assert_allclose(found.cpu(), expected, rtol=1e-6)
        given = model.condition([0, 1], X[0, :2])
        assert isinstance(given.means_, torch.Tensor)
        assert given.means_.device == X.device
        given.predict(X[:, 2:])


def test_regression_follows_a_curve():
    """What the method is for: a mixture of lines follows a sine."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, size=3000)
    data = np.column_stack((x, np.sin(x) + 0.05 * rng.normal(size=3000)))
    model = KeOpsGaussianMixture(12, random_state=0).fit(data)
    grid = np.linspace(-2.8, 2.8, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.conditional_mean(0, grid[:, None])[:, 0]
    assert_allclose(found, np.sin(grid), atol=0.05)


def test_of_a_mixture_that_was_chosen():
    """What KeOpsGaussianMixtureCV has found is conditioned like any other."""
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    chosen = KeOpsGaussianMixtureCV(4, random_state=0).fit(frame)
    for found, expected in (
        (chosen.marginal(["a"]), chosen.mixture_.marginal(["a"])),
        (chosen.condition("b", 3.0), chosen.mixture_.condition("b", 3.0)),
    ):
        assert type(found) is KeOpsGaussianMixture
        assert_array_equal(found.means_, expected.means_)
        assert_array_equal(found.feature_names_in_, expected.feature_names_in_)
    assert_array_equal(
        chosen.conditional_mean(["a", "b"], frame[["a", "b"]]),
        chosen.mixture_.conditional_mean(["a", "b"], frame[["a", "b"]]),
    )
    with pytest.warns(UserWarning, match="names, but KeOpsGaussianMixtureCV was"):
        chosen.conditional_mean("a", iris()[:, :1])
    assert_array_equal(chosen.to_sklearn().means_, chosen.means_)
