"""A start that no random number has a part in."""

import numpy as np
import pytest
import torch

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm.solvers import grown
from tests.fit.test_local import problem, row_of_blobs
from tests.reference import COVARIANCE_TYPES


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_components", [1, 5])
def test_it_does_not_depend_on_where_it_is_asked(structure, n_components, rng):
    objective, state = problem(rng, "native", structure, False)
    after = objective.evaluate(objective.maximize(state))
    found = [
        grown(objective.edits.uncharged(), one, n_components) for one in (state, after)
    ]
    assert len(found[0].weights) == n_components
    for name in ("weights", "means", "covariances"):
        first, second = (getattr(parameters, name) for parameters in found)
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)


def test_a_single_component_has_the_moments_of_all_samples(rng):
    objective, state = problem(rng, "native", "full", True)
    single = objective.edits.uncharged().single(state)
    settled = objective.maximize(objective.evaluate(single))
    torch.testing.assert_close(single.means, settled.means)
    torch.testing.assert_close(single.covariances, settled.covariances)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_sparse_fits_do_not_depend_on_the_seed(structure, rng):
    """Nor on the order of samples, but for rounding."""
    X = row_of_blobs(rng)
    sparse = KeOpsGaussianMixture(12, covariance_type=structure, sparsity=3.0)
    orders = [np.arange(len(X)), np.arange(len(X)), rng.permutation(len(X))]
    first, second, permuted = (
        sparse.set_params(random_state=seed).fit(X[order]).cost_
        for seed, order in enumerate(orders)
    )
    assert first == second
    assert permuted == pytest.approx(first, abs=1e-4)


def test_a_start_that_is_asked_for_is_kept(rng):
    """Only the usual one depends on no seed."""
    X = row_of_blobs(rng)
    sparse = KeOpsGaussianMixture(12, sparsity=3.0, max_iter=1, moves=True)
    costs = [
        sparse.set_params(init_params=init_params, random_state=seed).fit(X).costs_[0]
        for init_params in ("kmeans", "random_from_data")
        for seed in range(2)
    ]
    assert costs[0] == costs[1]
    assert len(set(costs)) == 3
