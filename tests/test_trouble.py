"""Ugly data: a fit ends with a proper mixture, or says why not before it starts."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._model.covariances import COVARIANCES
from tests.common import DENSE_BACKENDS
from tests.reference import STRUCTURES

STARTS = ["kmeans", "k-means++", "random", "random_from_data"]


def matrices(model):
    """The covariances as one matrix per component, (M, D, D)."""
    covariances = np.asarray(model.covariances_, dtype=float)
    M, D = model.means_.shape
    match model.covariance_type:
        case "full":
            return covariances
        case "tied":
            return np.broadcast_to(covariances, (M, D, D))
        case "diag":
            return covariances[:, None, :] * np.eye(D)
        case _:
            return covariances[:, None, None] * np.eye(D)


def assert_proper(model, X):
    """Finite attributes, weights on the simplex, covariances positive definite."""
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert np.isfinite(getattr(model, name)).all(), name
    assert (model.weights_ >= 0).all()
    eps = np.finfo(model.weights_.dtype).eps
    assert model.weights_.sum() == pytest.approx(1.0, abs=10 * eps * len(X))
    for matrix in matrices(model):
        np.linalg.cholesky(matrix)
    assert np.isfinite(model.cost_)
    assert np.isfinite(model.score_samples(X)).all()


@st.composite
def ugly_data(draw):
    """Few or many rows, on few or many values, on scales far apart."""
    n = draw(st.integers(2, 40))
    n_features = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["normal", "duplicated", "constant", "clusters"]))
    X = rng.normal(size=(n, n_features))
    if kind == "duplicated":
        X = X[rng.integers(max(1, n // 4), size=n)]
    elif kind == "constant":
        X[:, 0] = 3.0
    elif kind == "clusters":
        X = 1e-3 * X + 10.0 * rng.integers(-2, 3, size=(n, 1))
    scales = draw(st.sampled_from([[0.0], [4.0, -4.0], [8.0, 0.0]]))
    return X * 10.0 ** np.resize(scales, n_features)


@given(
    X=ugly_data(),
    structure=st.sampled_from(STRUCTURES),
    init_params=st.sampled_from(STARTS),
    sparsity=st.sampled_from([0.0, 1.0, 20.0]),
    share=st.floats(0.01, 1.0),
)
@settings(max_examples=60)
@pytest.mark.slow
def test_a_floor_under_the_variances_is_enough(
    X, structure, init_params, sparsity, share
):
    """With reg_covar of the order of rounding in the data a fit always ends well."""
    floor = 1e-6 + 1e-12 * np.square(X).max()
    model = KeOpsGaussianMixture(
        max(1, int(share * len(X))),
        covariance_type=structure,
        init_params=init_params,
        sparsity=sparsity,
        reg_covar=floor,
        max_iter=30,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k-means names duplicated rows
        model.fit(X)
    assert_proper(model, X)


@given(
    X=ugly_data(),
    structure=st.sampled_from(STRUCTURES),
    sparsity=st.sampled_from([0.0, 1.0, 20.0]),
    reg_covar=st.sampled_from([0.0, 1e-2]),
)
@settings(max_examples=50)
@pytest.mark.slow
def test_every_step_improves(X, structure, sparsity, reg_covar):
    """The penalised cost never rises at reg_covar=0; else the fit ends well."""
    X = (X - X.mean(0)) / np.maximum(X.std(0), 1e-3)
    X = np.concatenate([X, np.random.default_rng(0).normal(size=(60, X.shape[1]))])
    model = KeOpsGaussianMixture(
        4,
        covariance_type=structure,
        sparsity=sparsity,
        reg_covar=reg_covar,
        init_params="random",
        max_iter=25,
        tol=0.0,
        random_state=0,
    )
    try:
        model.fit(X)
    except ValueError as error:
        # Without a floor a component may collapse, which has to be said.
        if reg_covar == 0.0 and "ill-defined empirical covariance" in str(error):
            return
        raise
    if reg_covar == 0.0:
        scale = 1.0 + np.abs(model.costs_[0])
        assert np.diff([*model.costs_, model.cost_]).max() <= 1e-11 * scale
    assert_proper(model, X)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize(
    ("n_samples", "n_components", "n_features"),
    [(6, 6, 2), (6, 3, 10), (2, 1, 5), (30, 5, 40)],
    ids=["a sample each", "more features", "two samples", "many features"],
)
def test_few_samples(structure, n_samples, n_components, n_features):
    """Where scikit-learn fits so do we, to the same mixture."""
    X = np.random.default_rng(0).normal(size=(n_samples, n_features))
    parameters = {
        "n_components": n_components,
        "covariance_type": structure,
        "random_state": 0,
    }
    peer = GaussianMixture(**parameters).fit(X)
    model = KeOpsGaussianMixture(**parameters).fit(X)
    assert_proper(model, X)
    np.testing.assert_allclose(model.means_, peer.means_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.covariances_, peer.covariances_, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_magnitudes(structure, scale):
    """A change of unit changes nothing else."""
    X = np.random.default_rng(0).normal(size=(300, 2))
    X[:150] += 6.0
    model = KeOpsGaussianMixture(
        2, covariance_type=structure, reg_covar=0.0, tol=1e-9, random_state=0
    )
    expected = KeOpsGaussianMixture(**model.get_params()).fit(X)
    model.fit(X * scale)
    np.testing.assert_allclose(model.weights_, expected.weights_, rtol=1e-6)
    np.testing.assert_allclose(model.means_ / scale, expected.means_, rtol=1e-6)
    assert_proper(model, X * scale)
    shift = 2 * np.log(scale)
    assert model.score(X * scale) + shift == pytest.approx(expected.score(X), abs=1e-6)


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_features_on_scales_far_apart(structure):
    X = np.random.default_rng(0).normal(size=(500, 2)) * [1e-4, 1e4]
    model = KeOpsGaussianMixture(
        2, covariance_type=structure, reg_covar=1e-16, random_state=0
    ).fit(X)
    assert_proper(model, X)


@pytest.mark.parametrize("backend", DENSE_BACKENDS)
@pytest.mark.parametrize("first", [False, True])
def test_a_component_far_away_takes_no_digits_of_others(backend, first):
    """The others are scored about their own middle, not that of all."""
    far = np.array([1e20, -1e20])
    order = [1, 0, 2] if first else [0, 2, 1]
    mixture = GaussianMixture(3, covariance_type="spherical").fit(np.eye(4, 2))
    mixture.weights_ = np.array([0.6, 0.001, 0.399])[order]
    mixture.means_ = np.array([[0.0, 0.0], far, [1.0, 3.0]])[order]
    mixture.covariances_ = np.ones(3)
    mixture.precisions_cholesky_ = mixture.precisions_ = np.ones(3)
    model = KeOpsGaussianMixture.from_sklearn(mixture).set_params(backend=backend)
    X = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 1.0], far])
    expected = mixture.score_samples(X)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)


@pytest.mark.parametrize("backend", DENSE_BACKENDS)
@pytest.mark.parametrize("fill", [1e12, 9.969209968386869e36])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_fill_values_take_no_digits_of_others(backend, fill, in_pieces, rng):
    """One row of what stands for missing numbers, as in files of netCDF."""
    clean = np.concatenate([rng.normal(c, 1, (300, 2)) for c in (-5, 5)])
    X = np.concatenate([clean[:100], [[fill, fill]], clean[100:]])
    given = {"n_components": 3, "covariance_type": "diag", "random_state": 0}
    given |= {"means_init": [[-4.0, -4.0], [4.0, 4.0], [fill, fill]]}
    given |= {"precisions_init": np.ones((3, 2)), "weights_init": np.full(3, 1 / 3)}
    model = KeOpsGaussianMixture(**given, backend=backend)
    model.fit([X[:250], X[250:]] if in_pieces else X)
    expected = GaussianMixture(**given).fit(X)
    np.testing.assert_allclose(
        model.score_samples(clean), expected.score_samples(clean), rtol=1e-9
    )


def test_a_prior_beyond_measure_leaves_one_component(rng):
    for sparsity in (1e17, 1e300):
        model = KeOpsGaussianMixture(4, sparsity=sparsity, random_state=0)
        assert model.fit(rng.normal(size=(100, 2))).n_components_ == 1


def test_every_structure_is_tested():
    assert set(STRUCTURES) | {"tied_diag", "tied_spherical"} == set(COVARIANCES)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("seed", range(3))
def test_few_samples_for_many_features_in_float32(structure, seed):
    """Backends agree on covariances that only `reg_covar` keeps from being singular."""
    X = np.random.default_rng(seed).normal(size=(10, 52)).astype(np.float32)
    scores = []
    for backend in ("auto", "torch"):
        model = KeOpsGaussianMixture(
            2, covariance_type=structure, backend=backend, random_state=0
        ).fit(X)
        scores.append(model.score(X))
        assert model.lower_bound_ == pytest.approx(scores[-1], abs=0.3)
    assert scores[1] == pytest.approx(scores[0], abs=0.3)


@pytest.mark.parametrize("kind", [KeOpsGaussianMixture, KeOpsGaussianMixtureCV])
def test_features_too_narrow_for_a_variance(kind):
    X = np.random.default_rng(0).normal(size=(300, 2)) * [1.0, 1e-300]
    with pytest.raises(ValueError, match=r"X varies by less than .* features \[1\]"):
        kind(3, reg_covar="auto").fit(X)
    with pytest.warns(match="reg_covar=1e-06 is more than a hundredth"):
        KeOpsGaussianMixture(reg_covar=1e-6).fit(X)
