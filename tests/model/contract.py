"""What every covariance type is held to, the package's own and those of others."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.base import clone

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._fit import STARTS
from sklearn_keops_gmm._model import Moments
from sklearn_keops_gmm._model.covariances import make_covariance
from sklearn_keops_gmm.solvers import SOLVERS
from tests.common import blobs


def supported(names, some):
    """Those of `names` that a structure supports, and the others."""
    able = [name for name in names if some is None or name in some]
    return able, [name for name in names if name not in able]


def round_blobs():
    """Clusters that covariances of every type describe."""
    return blobs() * [1.0, 2.0]


class CovarianceContract:
    """Tests of the covariance type that the fixture `covariance_type` names."""

    @pytest.fixture
    def covariance(self, covariance_type):
        return make_covariance(covariance_type)

    @pytest.fixture
    def model(self, covariance_type):
        parameters = {"covariance_type": covariance_type, "random_state": 0}
        return KeOpsGaussianMixture(3, **parameters).fit(blobs())

    # -- algebra -------------------------------------------------------------------

    def test_shapes_and_inverses(self, covariance, model):
        value = fitted_model(model)
        found = value.parameters
        assert covariance.shape(3, 2) == model.covariances_.shape
        factors = covariance.factors(found.covariances)
        assert_allclose(factors, found.precisions_cholesky, rtol=1e-9)
        assert_allclose(covariance.covariances(factors), found.covariances, rtol=1e-9)
        again = covariance.factors_of_precisions(covariance.precisions(factors))
        assert_allclose(again, factors, rtol=1e-9, atol=1e-12)
        assert_allclose(covariance.triangular(-factors), factors, rtol=1e-9)
        roots = covariance.roots(factors, found.means)
        assert_allclose(roots @ roots.mT, value.matrices, rtol=1e-9, atol=1e-12)

    def test_determinants_and_traces(self, covariance, model):
        value = fitted_model(model)
        factors = value.parameters.precisions_cholesky
        precisions = torch.linalg.inv(value.matrices)
        log_dets = 0.5 * torch.linalg.slogdet(precisions).logabsdet
        found = covariance.log_det(factors, 2).expand(3)
        assert_allclose(found, log_dets, rtol=1e-9)
        traces = covariance.precision_traces(factors, 2).expand(3)
        assert_allclose(traces, precisions.diagonal(0, 1, 2).sum(1), rtol=1e-9)

    def test_all_components_as_one(self, covariance, model):
        """Merged moments are those of all samples, whichever components they had."""
        X = torch.tensor(blobs())
        means = torch.tensor(model.means_)
        shares = torch.tensor(model.predict_proba(blobs()))
        one = make_moments(covariance, X, shares.sum(1, keepdim=True), X.mean(0)[None])
        merged, mean = covariance.merge(
            make_moments(covariance, X, shares, means), means, torch.zeros(3).long(), 1
        )
        for found, expected in zip(
            covariance.m_step(merged, mean, 0.0),
            covariance.m_step(one, X.mean(0)[None], 0.0),
            strict=True,
        ):
            assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    # -- fits ----------------------------------------------------------------------

    def test_every_start_that_is_supported(self, covariance_type, covariance):
        able, others = supported(STARTS, covariance.starts)
        for name in able:
            parameters = {"covariance_type": covariance_type, "init_params": name}
            model = KeOpsGaussianMixture(3, **parameters, random_state=0, tol=1e-6)
            model.set_params(max_iter=1000).fit(blobs())
            assert model.converged_
        for name in others:
            model = KeOpsGaussianMixture(
                3, covariance_type=covariance_type, init_params=name
            )
            with pytest.raises(
                ValueError, match=re.escape(f"support init_params='{name}'")
            ):
                model.fit(blobs())

    def test_every_solver_that_is_supported(self, covariance_type, covariance, model):
        able, others = supported(SOLVERS, covariance.solvers)
        for name in able:
            found = clone(model).set_params(solver=name, max_iter=300).fit(blobs())
            assert found.cost_ <= model.cost_ + 0.05
        for name in others:
            with pytest.raises(ValueError, match=f"support solver='{name}'"):
                clone(model).set_params(solver=name).fit(blobs())

    def test_acceleration(self, covariance, model):
        accelerated = clone(model).set_params(acceleration="squarem", max_iter=300)
        if covariance.solvers is not None and "squarem" not in covariance.solvers:
            with pytest.raises(ValueError, match="support acceleration='squarem'"):
                accelerated.fit(blobs())
        else:
            assert accelerated.fit(blobs()).cost_ <= model.cost_ + 1e-3

    def test_em_is_monotone(self, model):
        model = clone(model).set_params(
            init_params="random", tol=0.0, max_iter=40, reg_covar=0.0
        )
        with pytest.warns(match="did not converge"):
            costs = np.array(model.fit(blobs()).costs_)
        assert (np.diff(costs) <= 1e-12).all()

    @pytest.mark.fast(2)
    def test_sparsity_leaves_few(self, model):
        sparse = clone(model).set_params(n_components=8, sparsity=5.0, max_iter=500)
        assert sparse.fit(round_blobs()).n_components_ == 3

    def test_weights_are_numbers_of_samples(self, model):
        X, weights = blobs(60), np.arange(60) % 3
        weighted, repeated = clone(model), clone(model)
        weighted.fit(X, sample_weight=weights.astype(float))
        repeated.fit(np.repeat(X, weights, axis=0))
        assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-6)

    def test_partial_fit(self, model):
        online = clone(model)
        for batch in np.split(blobs(), 4):
            online.partial_fit(batch)
        assert online.score(blobs()) > model.score(blobs()) - 0.5

    # -- answers -------------------------------------------------------------------

    @pytest.mark.parametrize("backend", ["auto", "torch"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_densities(self, model, backend, dtype):
        X = blobs().astype(dtype)
        value = fitted_model(model)
        logs = np.column_stack(
            [
                np.log(weight) + multivariate_normal(mean, matrix).logpdf(X)
                for weight, mean, matrix in zip(
                    model.weights_, model.means_, value.matrices.numpy(), strict=True
                )
            ]
        )
        expected = np.logaddexp.reduce(logs, axis=1)
        model.set_params(backend=backend)
        rtol = 1e-4 if dtype is np.float32 else 1e-9
        assert_allclose(model.score_samples(X), expected, rtol=rtol)
        assert model.score(X) == pytest.approx(expected.mean(), rel=rtol)
        shares = np.exp(logs - expected[:, None])
        assert_allclose(model.predict_proba(X), shares, rtol=1e-2, atol=10 * rtol)
        assert_array_equal(model.predict(X), logs.argmax(1))

    def test_samples(self, model):
        X, labels = model.sample(20_000, random_state=0)
        matrices = fitted_model(model).matrices
        for j, matrix in enumerate(matrices):
            spread = np.sqrt(np.diagonal(matrix))
            of_one = X[labels == j]
            assert_allclose((of_one.mean(0) - model.means_[j]) / spread, 0, atol=0.06)
            scaled = (np.cov(of_one.T) - matrix.numpy()) / np.outer(spread, spread)
            assert_allclose(scaled, 0, atol=0.08)

    def test_given_some_features(self, model):
        """The density of all is that of some times that of the others given them."""
        x = np.array([0.5, 0.25])
        given, rest = model.marginal([1]), model.condition([1], x[1:])
        both = given.score_samples(x[None, 1:]) + rest.score_samples(x[None, :1])
        assert_allclose(both, model.score_samples(x[None]), rtol=1e-9)

    def test_copies(self, model):
        X, expected = blobs(), model.score_samples(blobs())
        for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert_array_equal(twin.score_samples(X), expected)

    # -- numbers of components -----------------------------------------------------

    def test_path(self, covariance_type):
        path = sparsity_path(
            blobs(), 5, covariance_type=covariance_type, random_state=0
        )
        assert_array_equal(path.n_components, range(path.n_components[0], 0, -1))
        assert (np.diff(path.scores) <= 1e-9).all()
        assert path.at(1.0).score(blobs()) == pytest.approx(
            path.scores[-path.at(1.0).n_components_]
        )

    @pytest.mark.parametrize("n_features", [2, 40])
    @pytest.mark.parametrize("n_groups", [1, 4])
    def test_scatter_of_groups(self, covariance, n_features, n_groups, rng):
        """Also of a group of no points, and of groups of many."""
        points = torch.tensor(rng.normal(size=(300, n_features)))
        labels = torch.tensor(rng.integers(n_groups, size=300))
        labels[labels == 2] = 1
        found = covariance.scatter(points, labels, n_groups)
        shares = torch.nn.functional.one_hot(labels, n_groups).double()
        about = torch.zeros(n_groups, n_features).double()
        expected = make_moments(covariance, points, shares, about).second
        assert_allclose(found, expected, rtol=1e-12, atol=1e-12)

    def test_number_of_components_is_found(self, covariance_type):
        found = KeOpsGaussianMixtureCV(
            8, covariance_type=covariance_type, random_state=0
        ).fit(round_blobs())
        assert found.n_components_ == 3


def make_moments(covariance, X, shares, means):
    """The moments of responsibilities `shares`, (N, M), about `means`."""
    mass = shares.sum(0)
    first, second = [], []
    for j, mean in enumerate(means):
        differences = X - mean
        first.append(shares[:, j] @ differences)
        outer = covariance.outer(differences * shares[:, j, None].sqrt())
        second.append(outer.sum(0))
    second = covariance.pool(torch.stack(second))
    return Moments(mass, torch.stack(first), second, 0.0)
