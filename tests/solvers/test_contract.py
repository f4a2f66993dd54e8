"""Every solver that comes with the package keeps the contract."""

import pytest

from sklearn_keops_gmm.solvers import ACCELERATIONS, SOLVERS
from tests.solvers.contract import Kind, SolverContract

KINDS = {
    "em": Kind("em", {}),
    "squarem": Kind("em", {"acceleration": "squarem"}),
    "moves": Kind("em", {"sparsity": 2.0, "n_components": 6, "moves": True}),
    "lbfgs": Kind("lbfgs", {}),
    "adam": Kind("adam", {"learning_rate": 0.02}, monotone=False, max_iter=3000),
    "batches": Kind(
        "adam",
        {"learning_rate": 0.02, "batch_size": 150},
        monotone=False,
        exact=False,
        max_iter=3000,
    ),
}


class TestSolvers(SolverContract):
    @pytest.fixture(params=KINDS)
    def kind(self, request):
        return KINDS[request.param]


def test_each_solver_is_tested():
    assert {kind.name for kind in KINDS.values()} == set(SOLVERS)
    found = {kind.parameters.get("acceleration") for kind in KINDS.values()}
    assert found == set(ACCELERATIONS)
