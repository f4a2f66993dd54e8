"""The contract of solvers: what they return, and what they say on their way.

A subclass of `SolverContract` has a fixture `kind`, and holds that solver to it.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import build_problem, starting_point
from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm.solvers import SOLVERS, SolverSettings
from tests.common import blobs, start
from tests.reference import COVARIANCE_TYPES


class Kind(NamedTuple):
    """A solver, and what may be expected of it.

    Attributes
    ----------
    name : str
        In `SOLVERS`.
    parameters : dict
        Of the estimator.
    monotone : bool
        Whether the cost never rises.
    exact : bool
        Whether costs are those of all the data, not means over batches.
    max_iter : int
        Within which it converges.
    """

    name: str
    parameters: dict[str, Any]
    monotone: bool = True
    exact: bool = True
    max_iter: int = 300


class Heard(NamedTuple):
    """What a solver has said of an iteration."""

    n_iter: int
    fall: float
    parameters: MixtureParameters
    done: bool


class Problem:
    """A solver on blobs, from a start that is given."""

    def __init__(self, kind, structure="full", **given):
        n_components = kind.parameters.get("n_components", 3)
        self.estimator = KeOpsGaussianMixture(
            **start(blobs(), structure, n_components)
            | {"solver": kind.name, "reg_covar": 0.0, "random_state": 0}
            | kind.parameters
        )
        data = as_source(blobs()).read(self.estimator, n_components)
        task = build_problem(self.estimator, data)
        self.objective = task.objective
        self.start = starting_point(self.estimator, task, np.random.RandomState(0))
        self.solver = SOLVERS[kind.name]
        self.heard = []

    def solve(self, max_iter, tol=0.0, stop_at=None):
        """Return the result; what the solver says is in `heard`."""
        self.heard = []
        estimator = self.estimator
        settings = SolverSettings(
            tol=tol,
            max_iter=max_iter,
            learning_rate=estimator.learning_rate,
            acceleration=estimator.acceleration,
            moves=estimator.moves and estimator.sparsity > 0,
            batch_size=estimator.batch_size,
            random_state=np.random.RandomState(0),
        )

        def on_step(n_iter, fall, parameters, done):
            self.heard.append(Heard(n_iter, fall, parameters(), done))
            return n_iter == stop_at

        return self.solver(self.objective, self.start, settings, on_step)


def arrays(parameters):
    return [
        parameters.weights,
        parameters.means,
        parameters.covariances,
        parameters.precisions_cholesky,
    ]


def assert_a_mixture(parameters, objective):
    """Weights sum to 1, and factors are triangular, and those of the covariances."""
    for array in arrays(parameters):
        assert array.dtype == torch.float64
        assert not array.requires_grad
        assert bool(torch.isfinite(array).all())
    assert bool((parameters.weights > 0).all())
    assert float(parameters.weights.sum()) == pytest.approx(1.0)
    covariance, factors = objective.covariance, parameters.precisions_cholesky
    assert_allclose(covariance.triangular(factors), factors, rtol=1e-9, atol=1e-12)
    found = covariance.covariances(factors)
    assert_allclose(found, parameters.covariances, rtol=1e-8, atol=1e-12)


class SolverContract:
    """What holds for every solver."""

    @pytest.mark.parametrize("structure", COVARIANCE_TYPES)
    @pytest.mark.fast(6)
    def test_a_mixture_is_returned(self, kind, structure):
        problem = Problem(kind, structure)
        result = problem.solve(5)
        assert_a_mixture(result.parameters, problem.objective)
        for heard in problem.heard:
            assert_a_mixture(heard.parameters, problem.objective)

    @pytest.mark.fast(3)
    def test_the_start_stays_as_it_is(self, kind):
        problem = Problem(kind)
        before = [array.clone() for array in arrays(problem.start)]
        problem.solve(3)
        for array, copy in zip(arrays(problem.start), before, strict=True):
            assert bool((array == copy).all())

    @pytest.mark.fast(3)
    def test_lengths(self, kind):
        """A cost and a log-likelihood for each iteration, of where it began."""
        problem = Problem(kind)
        result = problem.solve(4)
        assert len(result.costs) == len(result.log_likelihoods) == len(problem.heard)
        assert [heard.n_iter for heard in problem.heard] == list(
            range(1, len(problem.heard) + 1)
        )
        if "moves" not in kind.parameters:
            assert len(result.costs) == 4
        if kind.exact:
            moments = problem.objective.moments(problem.start)
            log_likelihood = problem.objective.log_likelihood(moments)
            assert result.log_likelihoods[0] == pytest.approx(log_likelihood)
            cost = problem.objective.cost(problem.start)
            assert result.costs[0] == pytest.approx(cost)

    def test_no_iterations(self, kind):
        problem = Problem(kind)
        result = problem.solve(0)
        assert result.costs == result.log_likelihoods == ()
        assert not result.converged
        assert not problem.heard
        for found, expected in zip(
            arrays(result.parameters), arrays(problem.start), strict=True
        ):
            assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("structure", COVARIANCE_TYPES)
    @pytest.mark.fast(6)
    def test_costs(self, kind, structure):
        """They never rise, if the solver says so, and fall in any case."""
        problem = Problem(kind, structure)
        result = problem.solve(40)
        costs = np.array([*result.costs, problem.objective.cost(result.parameters)])
        assert np.isfinite(costs).all()
        assert costs[-1] < costs[0]
        if kind.monotone:
            assert np.diff(costs).max() < 1e-11
            assert min(heard.fall for heard in problem.heard) > -1e-11

    @pytest.mark.fast(3)
    def test_it_converges_by_its_tolerance(self, kind):
        problem = Problem(kind)
        result = problem.solve(kind.max_iter, tol=1e-4)
        assert result.converged
        n_iter = len(result.costs)
        assert n_iter < kind.max_iter
        assert problem.heard[-1].done or problem.estimator.sparsity > 0
        assert not any(heard.done for heard in problem.heard[:-1])
        if kind.monotone:
            assert abs(problem.heard[-1].fall) < 1e-4
        assert not problem.solve(2, tol=0.0).converged

    @pytest.mark.slow
    def test_it_finds_the_optimum_of_em(self, kind):
        problem = Problem(kind)
        result = problem.solve(kind.max_iter, tol=1e-7)
        given = {"solver": "em", "acceleration": None, "tol": 1e-9, "max_iter": 3000}
        em = KeOpsGaussianMixture(**problem.estimator.get_params() | given)
        least = em.fit(blobs()).cost_
        allowed = 1e-3 if kind.monotone else 3e-2
        assert problem.objective.cost(result.parameters) < least + allowed

    @pytest.mark.parametrize("stop_at", [1, 3])
    def test_it_stops_where_it_is_told(self, kind, stop_at):
        problem = Problem(kind)
        result = problem.solve(50, stop_at=stop_at)
        assert len(problem.heard) == len(result.costs) == stop_at
        found = arrays(result.parameters)
        for array, heard in zip(
            found, arrays(problem.heard[-1].parameters), strict=True
        ):
            assert_allclose(array, heard, rtol=1e-9, atol=1e-12)

    @pytest.mark.fast(3)
    def test_it_is_reproducible(self, kind):
        one, other = (Problem(kind).solve(6) for _ in range(2))
        assert one.costs == other.costs
        for array, same in zip(
            arrays(one.parameters), arrays(other.parameters), strict=True
        ):
            assert bool((array == same).all())

    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    @pytest.mark.fast(3)
    def test_an_estimator_takes_it(self, kind):
        problem = Problem(kind)
        model = problem.estimator.set_params(max_iter=8, tol=0.0).fit(blobs())
        assert model.n_iter_ == len(model.costs_) == len(model.lower_bounds_)
        found = [float(cost) for cost in problem.solve(8).costs]
        assert_allclose(model.costs_, found, rtol=1e-9)
        assert model.cost_ < model.costs_[0]
