"""Mixtures beside uniform noise: fits, and what they answer."""

import pickle
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MixtureClustering,
    sparsity_path,
)
from tests import missing, reference
from tests.common import (
    BACKENDS,
    SOLVERS,
    blobs,
    mixture_of,
    new_scikit_learn,
    start,
)
from tests.reference import COVARIANCE_TYPES

every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
noisy = partial(KeOpsGaussianMixture, noise="uniform")


@pytest.fixture(name="X")
def noisy_blobs(rng):
    """Three blobs, and a quarter of noise."""
    return np.concatenate((blobs(300), rng.uniform([-8, -9], [16, 15], size=(100, 2))))


@pytest.fixture
def fitted(X):
    return noisy(3, random_state=0, tol=1e-6).fit(X)


class Dense:
    """Noise and components by dense formulas, in extended precision."""

    def __init__(self, X, covariance_type, precisions, sample_weight=None):
        self.X, self.type, self.counts = X, covariance_type, sample_weight
        self.log_noise = -np.log(np.ptp(X, axis=0)).sum()
        identity = reference.as_matrices(covariance_type, precisions, X[:3])[0]
        assert_array_equal(identity, np.eye(X.shape[1]))
        self.covariances = precisions

    def shares(self, mixture, noise_weight):
        """Return responsibilities, noise last, and log-densities."""
        parts = reference.components_of(self.type, mixture)
        pairs = reference.pair_terms(self.X, *parts) + np.log1p(-noise_weight)
        noise = np.full((len(self.X), 1), np.log(noise_weight) + self.log_noise)
        terms = np.concatenate((pairs, noise), axis=1)
        densities = reference.log_sum_exp(terms)
        return np.exp(terms - densities[:, None]), densities

    def em(self, mixture, noise_weight, n_steps):
        """Return the mixture after some steps, the weight of noise, and the costs."""
        counts = np.ones(len(self.X)) if self.counts is None else self.counts
        costs = []
        for _ in range(n_steps):
            shares, densities = self.shares(mixture, noise_weight)
            costs.append(-np.average(densities, weights=counts))
            pulls = shares * counts[:, None]
            moved = self.X[:, None] - mixture.means
            sums = reference.Sums(
                pulls.sum(axis=0)[:-1],
                np.einsum("nj,nja->ja", pulls[:, :-1], moved),
                np.einsum("nj,nja,njb->jab", pulls[:, :-1], moved, moved),
                0.0,
            )
            mixture = reference.m_step(self.type, sums, mixture.means, 1e-6)
            noise_weight = float(pulls[:, -1].sum() / counts.sum())
        return mixture, noise_weight, costs


@every_type
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.fast(18)
def test_em_is_that_of_dense_formulas(covariance_type, weighted, backend, X, rng):
    counts = rng.uniform(0.5, 2.0, size=len(X)) if weighted else None
    given = start(blobs(), covariance_type, 3)
    dense = Dense(X, covariance_type, given["precisions_init"], counts)
    first = reference.Mixture(
        given["weights_init"], given["means_init"], dense.covariances
    )
    expected, noise_weight, costs = dense.em(first, 0.1, 8)
    model = noisy(**given, backend=backend, max_iter=8, tol=0, reg_covar=1e-6)
    with pytest.warns(match="did not converge"):
        model.fit(X, sample_weight=counts)
    assert_allclose(model.costs_, costs, rtol=1e-10)
    assert model.noise_weight_ == pytest.approx(noise_weight, rel=1e-9)
    found = mixture_of(model)
    assert_allclose(found.weights, (1 - noise_weight) * expected.weights, rtol=1e-8)
    for array, right in zip(found[1:], expected[1:], strict=True):
        assert_allclose(array, right, rtol=1e-8, atol=1e-10)
    shares, densities = dense.shares(expected, noise_weight)
    assert_allclose(model.predict_proba(X), shares, atol=1e-9)
    assert_allclose(model.score_samples(X), densities.astype(float), rtol=1e-9)
    labels = shares.argmax(axis=1)
    assert_array_equal(model.predict(X), np.where(labels == 3, -1, labels))


@every_type
@pytest.mark.fast(2)
def test_solvers_end_alike_and_costs_fall(covariance_type, X):
    given = start(blobs(), covariance_type, 3) | {"tol": 1e-8, "max_iter": 1000}
    for sparsity in (0.0, 0.5):
        found = {
            solver: noisy(**given, solver=solver, sparsity=sparsity, moves=False).fit(X)
            for solver in SOLVERS
        }
        leapt = noisy(**given, sparsity=sparsity, acceleration="squarem", moves=False)
        for model in (found["em"], found["lbfgs"], leapt.fit(X)):
            assert np.diff(model.costs_).max() < 1e-12
            assert model.cost_ == pytest.approx(found["em"].cost_, abs=1e-5)
        assert found["adam"].cost_ == pytest.approx(found["em"].cost_, abs=1e-3)


@pytest.mark.slow
def test_moves_and_pooling_leave_noise_alone(X):
    for settings in (
        {"moves": True},
        {"sparsity": 1.0, "covariance_pooling": "auto", "reg_covar": "auto"},
    ):
        model = noisy(8, random_state=0, tol=1e-7, max_iter=500, **settings).fit(X)
        # The mean responsibility is the weight where a fit ends.
        share = model.predict_proba(X)[:, -1].mean()
        assert model.noise_weight_ == pytest.approx(share, abs=2e-4)
        assert model.weights_.sum() + model.noise_weight_ == pytest.approx(1.0)
    assert model.n_components_ == 3


def test_more_distant_starts_find_the_same(X):
    for settings in ({"init_params": "merge"}, {"solver": "lbfgs"}):
        model = noisy(3, random_state=0, tol=1e-6, **settings).fit(X)
        assert model.noise_weight_ == pytest.approx(0.245, abs=0.02)
    for init in ("k-means++", "random_from_data"):
        with pytest.raises(ValueError, match="all others would be noise"):
            noisy(3, init_params=init).fit(X)


def test_the_volume_is_that_of_the_box_of_features_that_vary(X, fitted):
    low, high = X.min(axis=0), X.max(axis=0)
    assert_array_equal(fitted.noise_box_, [low, high])
    assert fitted.noise_log_density_ == pytest.approx(-np.log(high - low).sum())
    volume = (high - low).prod()
    same = noisy(3, random_state=0, tol=1e-6, noise_volume=volume).fit(X)
    assert same.noise_weight_ == pytest.approx(fitted.noise_weight_, rel=1e-9)
    denser = noisy(3, random_state=0, tol=1e-6, noise_volume=volume / 2).fit(X)
    assert denser.noise_log_density_ == pytest.approx(-np.log(volume / 2))
    assert denser.noise_weight_ > fitted.noise_weight_ + 0.01
    with pytest.raises(ValueError, match=r"noise_volume=3\.0 is for noise='uniform'"):
        KeOpsGaussianMixture(noise_volume=3.0).fit(X)


def test_parts_of_samples_are_fitted_as_one_array(X, fitted):
    from dask import array as da

    for parts in ([X[:150], X[150:]], da.from_array(X, chunks=(130, 2))):
        model = noisy(3, random_state=0, tol=1e-6).fit(parts)
        assert model.noise_weight_ == pytest.approx(fitted.noise_weight_, abs=1e-4)
        assert model.score(parts) == pytest.approx(fitted.score(X), abs=1e-6)
        assert np.asarray(model.predict_proba(parts)).shape == (400, 4)


def test_float32(X, fitted):
    single = noisy(3, random_state=0, tol=1e-6).fit(X.astype(np.float32))
    assert single.noise_box_.dtype == np.float32
    assert single.noise_weight_ == pytest.approx(fitted.noise_weight_, abs=1e-3)


@new_scikit_learn
def test_tensors(X, fitted):
    with sklearn.config_context(array_api_dispatch=True):
        tensor = noisy(3, random_state=0, tol=1e-6).fit(torch.tensor(X))
        labels = tensor.predict(torch.tensor(X)).numpy()
    assert torch.is_tensor(tensor.noise_box_)
    assert_array_equal(labels, fitted.predict(X))


def test_missing_values_have_the_density_of_what_is_observed(X, rng):
    gaps = missing.with_gaps(rng, X, 0.2)
    model = noisy(3, random_state=0, tol=1e-6).fit(gaps)
    assert model.noise_weight_ == pytest.approx(0.25, abs=0.05)
    some = np.column_stack((X[:9, 0], np.full(9, np.nan)))
    scores = model.marginal([0]).score_samples(X[:9, :1])
    assert_allclose(model.score_samples(some), scores, rtol=1e-10)
    assert model.score_samples([[np.nan, np.nan]]) == pytest.approx(0.0)
    assert np.isfinite(model.impute(gaps)).all()


def test_samples_are_labelled(fitted, rng):
    points, labels = fitted.sample(5000, random_state=0)
    assert (labels == -1).mean() == pytest.approx(fitted.noise_weight_, abs=0.02)
    noise = points[labels == -1]
    low, high = fitted.noise_box_
    assert ((noise >= low) & (noise <= high)).all()
    assert_allclose(noise.mean(axis=0), (low + high) / 2, atol=0.7)
    density = np.exp(fitted.score_samples([[100.0, 100.0]]))
    volume = (high - low).prod()
    assert density == pytest.approx(fitted.noise_weight_ / volume)


def test_conditions_weigh_noise(fitted):
    given = fitted.condition(0, 6.0)
    x, y = np.full(200, 6.0), np.linspace(-8, 14, 200)
    joint = fitted.score_samples(np.column_stack((x, y)))
    own = fitted.marginal([0]).score_samples([[6.0]])
    assert_allclose(given.score_samples(y[:, None]), joint - own, rtol=1e-8)
    far = fitted.condition(0, 1e4)
    assert far.noise_weight_ == pytest.approx(1.0)
    means = fitted.conditional_mean(0, [[6.0], [1e4]])
    assert means[0] == pytest.approx(0.0, abs=0.2)
    assert np.isfinite(means).all()


def test_criteria_count_its_weight(X, fitted):
    plain = KeOpsGaussianMixture(3, random_state=0).fit(X)
    n_parameters = fitted.summary().n_parameters
    assert n_parameters == plain.summary().n_parameters + 1
    total = fitted.score(X) * len(X)
    assert fitted.aic(X) == pytest.approx(2 * n_parameters - 2 * total)
    price = n_parameters * np.log(len(X))
    assert fitted.bic(X) == pytest.approx(price - 2 * total)
    summary = fitted.summary(X)
    counts = np.bincount(fitted.predict(X) + 1)
    assert_array_equal(summary.counts, counts[1:])
    assert summary.bic == pytest.approx(fitted.bic(X))
    noise = f"noise of weight {fitted.noise_weight_:.3f}, {counts[0]} samples"
    assert noise in repr(summary)


def test_saved_and_fitted_again(X, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict(X), fitted.predict(X))
    warm = noisy(3, random_state=0, warm_start=True).fit(X).fit(X)
    assert warm.noise_weight_ == pytest.approx(fitted.noise_weight_, abs=1e-2)
    cold = KeOpsGaussianMixture(3, random_state=0, warm_start=True).fit(X)
    cold.set_params(noise="uniform", tol=1e-6).fit(X)
    assert cold.noise_weight_ > 0.1
    again.set_params(noise=None).fit(X)
    assert not hasattr(again, "noise_weight_")
    assert again.predict_proba(X).shape == (400, 3)


def test_what_knows_of_no_noise_says_so(fitted):
    with pytest.raises(ValueError, match="takes mixtures without noise"):
        fitted.to_sklearn()
    with pytest.raises(ValueError, match="makes mixtures without noise"):
        noisy.func.from_parameters([1.0], [[0.0]], [[[1.0]]], noise="uniform")


def test_resamples_have_noise(X):
    """Their spread is that of the information, which knows nothing of them."""
    model = noisy(3, random_state=0, tol=1e-9, max_iter=1000).fit(X)
    result = model.bootstrap(X, 150, random_state=0)
    expected = model.standard_errors(X)
    found = result.standard_errors()
    assert_allclose(result.noise_weights, 1.0 - result.weights.sum(axis=1))
    assert_allclose(found.noise_weight, expected.noise_weight, rtol=0.2)
    assert_allclose(found.weights, expected.weights, rtol=0.25)
    low, high = result.intervals().noise_weight
    assert low < model.noise_weight_ < high


@pytest.mark.parametrize("refitted", [False, True])
def test_steps_of_online_em_remember_noise(refitted, X, rng):
    """Sums over components and noise, in numpy; the density is that of the first."""
    model = noisy(3, random_state=0).fit(X)
    if refitted:
        model.partial_fit(X[::2])
    weights, noise, means = model.weights_, model.noise_weight_, model.means_
    spread = model.covariances_ - 1e-6 * np.eye(2)
    second = spread + means[:, :, None] * means[:, None, :]
    sums = [weights, weights[:, None] * means, weights[:, None, None] * second, noise]
    log_noise = -np.log(np.ptp(X, axis=0)).sum()
    for step in range(1 + refitted, 4 + refitted):
        batch = X[rng.permutation(400)[:150]] + 1.0
        normal = [
            multivariate_normal(mean, covariance).logpdf(batch)
            for mean, covariance in zip(model.means_, model.covariances_, strict=True)
        ]
        terms = np.column_stack((*normal, np.full(150, log_noise)))
        terms += np.log([*model.weights_, model.noise_weight_])
        shares = np.exp(terms - logsumexp(terms, axis=1, keepdims=True)) / 150
        rate = (step + model.learning_offset) ** -model.learning_decay
        of_batch = (
            shares[:, :-1].sum(axis=0),
            shares[:, :-1].T @ batch,
            np.einsum("nj,na,nb->jab", shares[:, :-1], batch, batch),
            shares[:, -1].sum(),
        )
        sums = [(1 - rate) * s + rate * b for s, b in zip(sums, of_batch, strict=True)]
        model.partial_fit(batch)
        mass, first, second, noise = sums
        means = first / mass[:, None]
        second = second / mass[:, None, None] - means[:, :, None] * means[:, None, :]
        assert_allclose(model.weights_, mass, rtol=1e-7)
        assert_allclose(model.noise_weight_, noise, rtol=1e-7)
        assert_allclose(model.means_, means, atol=1e-6)
        assert_allclose(model.covariances_, second + 1e-6 * np.eye(2), atol=1e-6)
    assert model.noise_log_density_ == pytest.approx(log_noise)


@pytest.mark.parametrize("criterion", ["lic", "icl", "cv"])
def test_the_number_of_components_is_found(criterion, X):
    found = KeOpsGaussianMixtureCV(
        5, noise="uniform", criterion=criterion, random_state=0
    ).fit(X)
    assert found.n_components_ == 3
    assert found.noise_weight_ == found.mixture_.noise_weight_
    assert found.predict_proba(X).shape == (400, 4)
    assert set(found.predict(X)) == {-1, 0, 1, 2}


def test_paths_have_noise(X):
    path = sparsity_path(X, 6, noise="uniform", random_state=0)
    mixture = path.at(1.0)
    assert mixture.n_components_ == 3
    assert mixture.noise_weight_ == pytest.approx(0.25, abs=0.05)


def test_clusters_leave_noise_out(X, rng):
    clustering = MixtureClustering(noise="uniform", random_state=0).fit(X)
    labels, shares = clustering.labels_, clustering.predict_proba(X)
    assert clustering.n_clusters_ == 3
    assert shares.shape == (400, 4)
    best = shares.argmax(axis=1)
    assert_array_equal(labels, np.where(best == 3, -1, best))
    assert 70 < (labels == -1).sum() < 100
    assert_array_equal(clustering.sample(1000, 0)[1][-100:], np.full(100, -1))
    assert "noise of weight" in repr(clustering.summary(X))


def test_noise_beside_labels(rng):
    """Samples of a label are no noise: a fixed point of dense EM with both."""
    X = np.concatenate([rng.normal(c, 1, (100, 2)) for c in (0, 8, 16)])
    X = np.concatenate([X, rng.uniform(-5, 22, (100, 2))])
    truth = np.repeat([2, 0, 1, -1], 100)
    labels = np.where(rng.random(400) < 0.1, truth, -1)
    mixture = KeOpsGaussianMixture(
        3, noise="uniform", tol=1e-9, max_iter=500, random_state=0
    ).fit(X, component_labels=labels)
    densities = [
        weight * multivariate_normal(mean, covariance).pdf(X)
        for weight, mean, covariance in zip(
            mixture.weights_, mixture.means_, mixture.covariances_, strict=True
        )
    ]
    noise = np.full(400, mixture.noise_weight_ / np.prod(np.ptp(X, axis=0)))
    shares = np.column_stack([*densities, noise])
    known = labels >= 0
    shares[known] = np.eye(4)[labels[known]]
    shares /= shares.sum(axis=1, keepdims=True)
    weights = [*mixture.weights_, mixture.noise_weight_]
    assert_allclose(shares.mean(axis=0), weights, atol=1e-5)
    means = shares[:, :3].T @ X / shares[:, :3].sum(axis=0)[:, None]
    assert_allclose(mixture.means_, means, atol=1e-5)
    assert (mixture.predict(X)[known] == labels[known]).mean() > 0.9


@pytest.mark.parametrize(
    "estimator",
    [KeOpsGaussianMixtureCV(8), KeOpsGaussianMixture(8, sparsity=5.0)],
    ids=["choice", "sparse"],
)
def test_neither_seed_nor_order_decides(estimator, X, rng):
    found = [
        clone(estimator).set_params(noise="uniform", random_state=seed).fit(rows)
        for seed, rows in ((0, X), (1, X), (0, rng.permutation(X)))
    ]
    for other in found[1:]:
        assert other.n_components_ == found[0].n_components_
        assert_allclose(np.sort(other.weights_), np.sort(found[0].weights_), rtol=1e-6)
