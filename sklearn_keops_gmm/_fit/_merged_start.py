"""A start that goes down from more components than are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from numpy.random import RandomState

from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._regularization import n_distinct_rows, pooled_covariances
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._user_start import UserStart
from sklearn_keops_gmm._model import MixtureParameters, Priors
from sklearn_keops_gmm.solvers import SolverSettings, homotopy

# It starts with so many times as many components, that have so many samples on average
# for each feature and one more.
_MORE, _LEAST_SAMPLES = 3, 2
# Each mixture on the way has converged when so much is left to gain.
_TOL, _MAX_ITER = 1e-3, 100
_NOTHING_GIVEN = UserStart(None, None, None)


class Problem(Protocol):
    """What is to be started."""

    @property
    def problem(self) -> StartData:
        """What starts see."""

    @property
    def objective(self) -> MixtureObjective:
        """What solvers see."""

    @property
    def sample_size(self) -> float:
        """How many samples of weight 1 say as much as all."""


def merged_start(task: Problem, random_state: RandomState) -> MixtureParameters:
    """Return where mergers lead, from more components that k-means has found.

    Those that stay are where they are needed: as a rule that is a better optimum than
    the best of many starts with as many components as are asked for. On the way
    covariances are pooled, so that no component is kept for sitting on few samples.
    """
    problem, objective = task.problem, _on_start_data(task)
    n_components, (n_samples, n_features) = problem.n_components, problem.points.shape
    most = n_samples // (_LEAST_SAMPLES * (n_features + 1))
    most = max(n_components, min(_MORE * n_components, most))
    most = max(n_components, n_distinct_rows(problem.points, most))
    larger = replace(problem, n_components=most)
    ridge = objective.ridge
    start = initialize(larger, "kmeans", _NOTHING_GIVEN, ridge, random_state)
    start = replace(start, weights=start.weights / start.weights.sum())
    settings = SolverSettings(_TOL, _MAX_ITER, learning_rate=0.0)
    for state in homotopy(replace(objective, n_components=most), start, settings):
        if state.n_components <= n_components:
            return replace(state.parameters, targets=None)
    return initialize(problem, "kmeans", _NOTHING_GIVEN, ridge, random_state)


def _on_start_data(task: Problem) -> MixtureObjective:
    """Return the likelihood of the samples that starts see, with pooled covariances."""
    problem, objective = task.problem, task.objective
    points, weights = problem.points, problem.sample_weight
    reductions = objective.reductions
    if not reductions.in_memory:
        reductions = reductions.factory(problem.covariance.structure)(points, weights)
    pooling = pooled_covariances(
        problem.covariance, "auto", task.sample_size, points.shape[1]
    )
    return replace(
        objective,
        reductions=reductions,
        total_weight=problem.total_weight,
        prior=Priors() if pooling is None else Priors(pooling),
    )
