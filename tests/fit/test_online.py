"""Online EM: its step, its memory, what it refuses, and how close it comes to EM."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_sample_image
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs, every_backend, start

TYPES = ["full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"]
ATTRIBUTES = ["weights_", "means_", "covariances_", "precisions_cholesky_"]


def assert_same_mixture(one, other, rtol=1e-9):
    for name in ATTRIBUTES:
        assert_allclose(getattr(one, name), getattr(other, name), rtol, 1e-12)


def batches(n_batches=4, n_samples=100):
    return np.split(blobs(n_batches * n_samples), n_batches)


def as_matrices(covariances, structure, means):
    M, D = means.shape
    if structure == "full":
        return covariances
    if structure == "tied":
        return np.tile(covariances, (M, 1, 1))
    if structure.endswith("diag"):
        return np.array([np.diag(row) for row in np.broadcast_to(covariances, (M, D))])
    return np.eye(D) * np.broadcast_to(covariances, M)[:, None, None]


def as_structure(matrices, structure, weights):
    pooled = np.einsum("j,jde->de", weights, matrices)
    diagonals = np.diagonal(matrices, axis1=1, axis2=2)
    return {
        "full": matrices,
        "tied": pooled,
        "diag": diagonals,
        "spherical": diagonals.mean(1),
        "tied_diag": np.diag(pooled),
        "tied_spherical": np.diag(pooled).mean(keepdims=True),
    }[structure]


def step_by_hand(model, X, weights, rate):
    """Return the attributes after a step, from sums about the origin."""
    W, means, reg = model.weights_, model.means_, model.reg_covar
    matrices = as_matrices(model.covariances_, model.covariance_type, means)
    outer = means[:, :, None] * means[:, None, :]
    old = W, W[:, None] * means, W[:, None, None] * (matrices + outer)
    old[2][...] -= reg * W[:, None, None] * np.eye(X.shape[1])
    shares = model.predict_proba(X) * (weights / weights.sum())[:, None]
    new = shares.sum(0), shares.T @ X, np.einsum("ij,id,ie->jde", shares, X, X)
    s0, s1, s2 = ((1 - rate) * a + rate * b for a, b in zip(old, new, strict=True))
    mu = s1 / s0[:, None]
    found = s2 / s0[:, None, None] - mu[:, :, None] * mu[:, None, :]
    found += reg * np.eye(X.shape[1])
    return s0, mu, as_structure(found, model.covariance_type, s0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("structure", TYPES)
def test_steps_are_those_by_hand(structure, weighted, rng):
    first, *others = batches()
    model = KeOpsGaussianMixture(
        **start(first, structure, 3), reg_covar=0.01, max_iter=3, tol=1e9
    )
    model.set_params(learning_decay=0.8, learning_offset=2.0).fit(first)
    for t, X in enumerate(others, start=1):
        weights = rng.uniform(0, 2, len(X)) if weighted else np.ones(len(X))
        expected = step_by_hand(model, X, weights, (t + 2.0) ** -0.8)
        score = np.average(model.score_samples(X), weights=weights)
        model.partial_fit(X, sample_weight=weights if weighted else None)
        found = model.weights_, model.means_, model.covariances_
        for one, other in zip(found, expected, strict=True):
            assert_allclose(one, other, rtol=1e-9)
        assert model.n_iter_ == len(model.lower_bounds_) == t
        assert model.lower_bound_ == pytest.approx(score, rel=1e-9)
        assert model.cost_ == model.costs_[-1] == -model.lower_bound_
        assert not model.converged_


@every_backend
@pytest.mark.parametrize("sparsity", [0.0, 2.0])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_a_whole_step_is_one_of_em(backend, sparsity, shift):
    """With nothing added to t, the first step goes all the way to its batch."""
    first, second, *_ = batches()
    model = KeOpsGaussianMixture(
        3, sparsity=sparsity, moves=False, backend=backend, random_state=0
    )
    model.fit(first + shift)
    twin = pickle.loads(pickle.dumps(model))
    twin.set_params(warm_start=True, max_iter=1, tol=1e9).fit(second + shift)
    model.set_params(learning_offset=0.0).partial_fit(second + shift)
    assert_allclose(model.weights_, twin.weights_, rtol=1e-6)
    assert_allclose(model.means_ - shift, twin.means_ - shift, rtol=1e-6, atol=1e-8)
    assert_allclose(model.covariances_, twin.covariances_, rtol=1e-6, atol=1e-8)


def test_the_first_call_fits_its_batch():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0)
    assert model.partial_fit(X) is model
    check_is_fitted(model)
    assert_same_mixture(model, KeOpsGaussianMixture(3, random_state=0).fit(X), 0)


def test_a_fit_forgets_the_steps():
    first, second, third, _ = batches()
    model = KeOpsGaussianMixture(3, random_state=0)
    for X in (first, second, third):
        model.partial_fit(X)
    assert model.n_iter_ == 2
    model.fit(first).partial_fit(second)
    assert model.n_iter_ == len(model.costs_) == 1
    fresh = KeOpsGaussianMixture(3, random_state=0).fit(first).partial_fit(second)
    assert_same_mixture(model, fresh, 0)


@pytest.mark.parametrize("sparsity", [0.0, 3.0])
def test_a_copy_goes_on_alike(sparsity):
    first, second, third, _ = batches()
    model = KeOpsGaussianMixture(4, sparsity=sparsity, random_state=0)
    model.partial_fit(first).partial_fit(second)
    twin = pickle.loads(pickle.dumps(model)).partial_fit(third)
    assert_same_mixture(twin, model.partial_fit(third), 0)


def test_sparsity_extinguishes_along_the_way():
    first, *others = batches(30, 200)
    model = KeOpsGaussianMixture(
        8, sparsity=15.0, moves=False, random_state=0, max_iter=1, tol=1e9
    )
    model.set_params(learning_decay=0.6).partial_fit(first)
    assert model.n_components_ == 8
    for X in others:
        model.partial_fit(X)
    # There are three blobs; one of the eight parts may still be on its way out.
    assert 3 <= model.n_components_ <= 4
    assert len(model.weights_) == len(model.means_) == model.n_components_
    assert model.weights_.sum() == pytest.approx(1)
    assert model.cost_ > -model.lower_bound_


def test_weights_count_as_rows(rng):
    first, second, *_ = batches()
    counts = rng.integers(0, 3, len(second))
    one = KeOpsGaussianMixture(3, random_state=0).fit(first)
    other, scaled = (pickle.loads(pickle.dumps(one)) for _ in range(2))
    one.partial_fit(second, sample_weight=counts)
    other.partial_fit(second.repeat(counts, axis=0))
    scaled.partial_fit(second, sample_weight=7.5 * counts)
    assert_same_mixture(one, other)
    assert_same_mixture(one, scaled)


def test_one_sample_is_a_batch():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    before = model.means_.copy()
    for row in X[:20]:
        model.partial_fit(row[None])
    assert model.n_iter_ == 20
    assert_allclose(model.means_, before, atol=1.0)
    assert (model.means_ != before).any()


def test_float32_stays_float32():
    first, second, *_ = (X.astype(np.float32) for X in batches())
    model = KeOpsGaussianMixture(3, random_state=0).partial_fit(first)
    model.partial_fit(second)
    assert {getattr(model, name).dtype for name in ATTRIBUTES} == {np.dtype(np.float32)}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_other_solvers_are_refused(solver):
    model = KeOpsGaussianMixture(3, solver=solver)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(blobs())
    assert f"solver={solver!r}" in str(error.value.__cause__)


def test_a_prior_is_refused():
    X = blobs()
    model = KeOpsGaussianMixture(3, prior=lambda *_: 0.0)
    with pytest.raises(ValueError, match="cannot take a prior"):
        model.partial_fit(X)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match="cannot take a prior"):
        model.set_params(prior=lambda *_: 0.0).partial_fit(X)


def test_bad_batches():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0)
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        model.partial_fit(X[:2])
    # A call that fails leaves no features behind.
    model.partial_fit(X)
    before = model.means_.copy()
    with pytest.raises(
        ValueError,
        match="X has 1 features, but KeOpsGaussianMixture is expecting 2 features",
    ):
        model.partial_fit(X[:, :1])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.partial_fit(np.full((3, 2), np.inf))
    with pytest.raises(ValueError, match="0 sample"):
        model.partial_fit(X[:0])
    with pytest.raises(ValueError, match=r"one non-zero|no samples that count"):
        model.partial_fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="Negative values"):
        model.partial_fit(X, sample_weight=-np.ones(len(X)))
    assert_array_equal(model.means_, before)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("noise", [1e-1, 1e-3, 1e-4])
def test_nearly_collinear_features_in_float32(structure, noise, rng):
    """Rounded covariances need not be definite; a tiny step keeps what was fitted."""
    X = rng.normal(size=(500, 3))
    X = np.column_stack((X, X.sum(axis=1) + noise * rng.normal(size=500)))
    X = X.astype(np.float32)
    model = KeOpsGaussianMixture(
        2, covariance_type=structure, learning_offset=1e6, random_state=0
    ).fit(X)
    before = model.score(X)
    assert model.partial_fit(X).score(X) == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("structure", ["diag", "spherical"])
def test_components_of_one_sample_without_a_ridge(structure):
    """What is remembered is of the components that are left."""
    X = np.random.default_rng(0).normal(size=(40, 2)).round(1)
    model = KeOpsGaussianMixture(
        20,
        covariance_type=structure,
        sparsity=3.0,
        reg_covar=0,
        max_iter=0,
        random_state=0,
    ).fit(X)
    model.partial_fit(X)
    assert len(model.weights_) == len(model.means_) == model.n_components_
    assert np.isfinite(model.score(X))


def test_features_of_many_scales_in_float32():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(58, 29)) * 10 ** rng.uniform(-6, 6, 29)
        X = X.astype(np.float32)
        model = KeOpsGaussianMixture(4, max_iter=1, random_state=seed).fit(X)
        assert np.isfinite(model.partial_fit(X).score(X))


@pytest.mark.slow
def test_one_pass_comes_close_to_batch_em(rng):
    """200,000 pixels in batches of 5,000, and as many that no fit sees."""
    photographs = [load_sample_image(f"{name}.jpg") for name in ("china", "flower")]
    pixels = np.concatenate([image.reshape(-1, 3) for image in photographs])
    pixels = rng.permutation(pixels + rng.uniform(-0.5, 0.5, pixels.shape)) / 255
    train, held_out = pixels[:200_000], pixels[200_000:400_000]
    model = KeOpsGaussianMixture(10, random_state=0)
    batch = model.fit(train).score(held_out)
    online = KeOpsGaussianMixture(10, random_state=0)
    for X in np.split(train, 40):
        online.partial_fit(X)
    assert online.n_iter_ == 39
    assert online.score(held_out) > batch - 0.02
