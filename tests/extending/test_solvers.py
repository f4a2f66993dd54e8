"""A solver that is registered from outside keeps the contract of our own."""

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm.solvers import GRADIENT_SOLVERS, SOLVERS
from tests.common import blobs
from tests.extending.solvers import steepest
from tests.solvers.contract import Kind, SolverContract


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SOLVERS, "steepest", steepest)


class TestSteepest(SolverContract):
    @pytest.fixture
    def kind(self):
        return Kind("steepest", {}, max_iter=2000)


def mean_near_zero(weights, means, factors):
    return 10.0 * (means**2).sum()


def test_it_can_lower_a_prior_if_it_says_so():
    model = KeOpsGaussianMixture(
        1, solver="steepest", prior=mean_near_zero, max_iter=500
    )
    with pytest.raises(ValueError, match="solver='steepest' cannot take a prior"):
        model.fit(blobs())
    GRADIENT_SOLVERS.append("steepest")
    try:
        assert np.abs(model.fit(blobs()).means_).max() < 0.2
    finally:
        GRADIENT_SOLVERS.remove("steepest")


def test_it_is_unknown_where_it_is_not_registered(monkeypatch):
    monkeypatch.delitem(SOLVERS, "steepest")
    with pytest.raises(ValueError, match=r"'solver' parameter .* must be a str among"):
        KeOpsGaussianMixture(solver="steepest").fit(blobs())
