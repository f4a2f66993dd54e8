"""Fits under targets that are held: no step raises what it lowers."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.utils import check_random_state

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import build_problem, starting_point
from tests.common import blobs, every_backend

own_covariances = pytest.mark.parametrize("structure", ["full", "diag", "spherical"])


def few_samples(rng, width=0.1):
    """Clusters of some ten samples each, on a lattice in one feature."""
    clusters = ((0, 1), (5, width), (9, 1))
    X = np.concatenate([rng.normal(*cluster, (12, 2)) for cluster in clusters])
    X[:, 1] = X[:, 1].round(1)
    return X


def minimised(objective, parameters, fractions):
    """The cost and the ridge's term, the masses and targets held."""
    terms = objective.differentiable_cost(
        parameters.weights.log(),
        parameters.means,
        parameters.precisions_cholesky,
        fractions,
        parameters.targets,
    )
    return float(terms.cost + terms.ridge)


@every_backend
@own_covariances
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.fast(4)
def test_what_em_lowers_does_not_rise(backend, structure, weighted, rng):
    X = few_samples(rng)
    weights = rng.uniform(0.2, 3, len(X)) if weighted else None
    mixture = KeOpsGaussianMixture(
        6,
        covariance_type=structure,
        covariance_pooling="auto",
        reg_covar="auto",
        init_params="random_from_data",
        backend=backend,
    )
    data = as_source(X, weights).read(mixture, 6)
    task = build_problem(mixture, data)
    objective = task.objective
    start = starting_point(mixture, task, check_random_state(0))
    start = start.normalised()
    parameters = objective.hold(start)
    for i in range(40):
        state = objective.evaluate(parameters)
        fractions = state.moments.mass / objective.total_weight
        before = minimised(objective, parameters, fractions)
        following = objective.maximize(state)
        assert following.targets is parameters.targets
        after = minimised(objective, following, fractions)
        assert after <= before + 1e-12 * max(1.0, abs(before))
        parameters = following
        if i % 10 == 9:
            renewed = objective.renewed(objective.evaluate(parameters))
            parameters = parameters if renewed is None else renewed.parameters


@own_covariances
def test_solvers_end_alike(structure, rng):
    X = few_samples(rng, 0.7)
    common = {"covariance_type": structure, "covariance_pooling": 4.0, "tol": 1e-9}
    common |= {"random_state": 0}
    start = {"means_init": [[0, 0], [5, 5], [9, 9]], "weights_init": [0.3, 0.3, 0.4]}
    em = KeOpsGaussianMixture(3, max_iter=2000, **common, **start).fit(X)
    others = (
        {"acceleration": "squarem"},
        {"solver": "lbfgs"},
        {"solver": "adam", "learning_rate": 1e-3, "precisions_init": em.precisions_}
        | {"means_init": em.means_, "weights_init": em.weights_},
    )
    # Targets that would move by less than a thousandth stay.
    for how in others:
        model = KeOpsGaussianMixture(3, max_iter=2000, **common | start | how).fit(X)
        assert model.cost_ == pytest.approx(em.cost_, abs=1e-4)
        assert_allclose(model.covariances_, em.covariances_, rtol=1e-2, atol=1e-3)


@own_covariances
def test_cost_is_at_the_last_targets(structure, rng):
    """It is the negative log-likelihood, and a divergence that is not negative."""
    X = few_samples(rng)
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, covariance_pooling=3.0, random_state=0
    ).fit(X)
    plain = KeOpsGaussianMixture(3, covariance_type=structure, random_state=0).fit(X)
    assert model.cost_ >= -model.score(X)
    assert model.score(X) <= plain.score(X) + 1e-3
    assert model.covariance_pooling_ == 3.0


def test_iterations_of_all_stretches_are_counted(rng):
    model = KeOpsGaussianMixture(3, covariance_pooling=3.0, random_state=0)
    X = few_samples(rng)
    model.fit(X)
    assert model.n_iter_ == len(model.costs_) == len(model.lower_bounds_)
    short = KeOpsGaussianMixture(3, covariance_pooling=3.0, random_state=0, max_iter=2)
    assert short.fit(X).n_iter_ == 2


@own_covariances
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.fast(2)
def test_pooling_does_not_compound_over_batches(structure, dtype, rng):
    X = (blobs(150) + 50).astype(dtype)
    settings = {"covariance_type": structure, "random_state": 0, "tol": 1e-8}
    model = KeOpsGaussianMixture(3, covariance_pooling=6.0, max_iter=500, **settings)
    model.fit(X)
    plain = KeOpsGaussianMixture(3, max_iter=500, **settings).fit(X)
    for _ in range(80):
        model.partial_fit(X)
    order = np.argsort(model.means_[:, 0]), np.argsort(plain.means_[:, 0])
    # After as many batches hardly anything of the pseudo-samples is left.
    assert_allclose(
        model.covariances_[order[0]], plain.covariances_[order[1]], rtol=0.02, atol=0.02
    )


def test_half_way_through_its_batches_a_copy_goes_on_alike(rng):
    X = few_samples(rng)
    model = KeOpsGaussianMixture(3, covariance_pooling=2.0, random_state=0).fit(X)
    model.partial_fit(X)
    copy = pickle.loads(pickle.dumps(model))
    assert_allclose(
        model.partial_fit(X[:20]).covariances_, copy.partial_fit(X[:20]).covariances_
    )
    assert torch.isfinite(torch.tensor(model.covariances_)).all()
