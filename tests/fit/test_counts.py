"""A weight that is an integer counts as that many equal rows, whatever is fitted."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris, load_wine

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV


@pytest.mark.parametrize(
    "parameters",
    [
        {"sparsity": 1.0},
        {"sparsity": 5.0},
        {"init_params": "merge"},
        {"init_params": "merge", "covariance_pooling": "auto"},
        {"init_params": "merge", "moves": True, "n_components": 6},
    ],
)
def test_fits(parameters, rng):
    X = load_iris().data + rng.normal(scale=0.03, size=(150, 4))
    counts = rng.integers(0, 4, 150)
    given = {"n_components": 12, "random_state": 0} | parameters
    weighted = KeOpsGaussianMixture(**given).fit(X, sample_weight=counts)
    repeated = KeOpsGaussianMixture(**given).fit(X.repeat(counts, axis=0))
    assert weighted.n_components_ == repeated.n_components_
    assert weighted.cost_ == pytest.approx(repeated.cost_, abs=1e-7)


@pytest.mark.parametrize(
    ("X", "covariance_type"),
    [(load_iris().data, "diag"), (load_wine().data[:, :5], "tied")],
    ids=["iris", "wine"],
)
@pytest.mark.filterwarnings("ignore:The number of components found")
def test_choices(X, covariance_type):
    counts = np.random.default_rng(1).integers(0, 4, len(X))
    weighted, repeated = (
        KeOpsGaussianMixtureCV(8, covariance_type=covariance_type).fit(*given)
        for given in ((X, None, counts), (X.repeat(counts, axis=0),))
    )
    assert weighted.n_components_ == repeated.n_components_
    assert_allclose(weighted.criterion_, repeated.criterion_, rtol=1e-7)


def test_the_unit_of_other_weights_says_nothing(rng):
    X = load_iris().data + rng.normal(scale=0.03, size=(150, 4))
    weights = rng.uniform(0.1, 4, 150)
    costs = [
        KeOpsGaussianMixture(12, sparsity=1.0, random_state=0)
        .fit(X, sample_weight=unit * weights)
        .cost_
        for unit in (1e-3, 1.0, 1e3)
    ]
    assert_allclose(costs, costs[0], atol=1e-7)
