"""A start that goes down from more components than are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from numpy.random import RandomState

from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._recombined_start import recombined
from sklearn_keops_gmm._fit._regularization import n_distinct_rows, pooled_covariances
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._user_start import NOTHING_GIVEN
from sklearn_keops_gmm._model import MixtureParameters, Priors
from sklearn_keops_gmm.solvers import SolverSettings, homotopy

# It starts with so many times as many components, with fewer where others follow; they
# have so many samples on average for each feature and one more.
_MORE, _MORE_OF_SEVERAL, _LEAST_SAMPLES = 3, 2, 2
# Up to so many components a thorough start begins by k-means.
_FEW = 16
# Each mixture on the way has converged when so much is left to gain.
_TOL, _MAX_ITER = 1e-3, 100


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


def merged_start(
    task: Problem, random_state: RandomState, *, thorough: bool = False
) -> MixtureParameters:
    """Return where mergers lead, from more components that k-means has found.

    Those that stay are where they are needed: as a rule that is a better optimum than
    the best of many starts with as many components as are asked for. On the way
    covariances are pooled, so that no component is kept for sitting on few samples.
    A start that is `thorough` joins the mixture with others, and merges again; of few
    components the first is one by k-means.
    """
    problem, objective = task.problem, _on_start_data(task)
    more = _MORE_OF_SEVERAL if thorough else _MORE
    if thorough and _begins_by_kmeans(problem, objective):
        ridge = objective.ridge
        found = initialize(problem, "kmeans", NOTHING_GIVEN, ridge, random_state)
        found = found.normalised()
    else:
        found = _merged_down(problem, _pooled(objective, task), more, random_state)
    if not thorough:
        return found
    return recombined(problem, objective, found, random_state)


def _merged_down(
    problem: StartData,
    objective: MixtureObjective,
    more: int,
    random_state: RandomState,
) -> MixtureParameters:
    """Return where mergers lead from so many times as many components."""
    n_components = problem.n_components
    most = max(n_components, min(more * n_components, _most(problem, objective)))
    most = max(n_components, n_distinct_rows(problem.points, most))
    larger = replace(problem, n_components=most)
    ridge = objective.ridge
    start = initialize(larger, "kmeans", NOTHING_GIVEN, ridge, random_state)
    start = start.normalised()
    settings = SolverSettings(_TOL, _MAX_ITER, learning_rate=0.0)
    for state in homotopy(replace(objective, n_components=most), start, settings):
        if state.n_components <= n_components:
            return replace(state.parameters, targets=None)
    return initialize(problem, "kmeans", NOTHING_GIVEN, ridge, random_state)


def _begins_by_kmeans(problem: StartData, objective: MixtureObjective) -> bool:
    """Tell whether others are joined with a start by k-means.

    Of few components what mergers find is as good after the first of these, at twice
    the price; on few samples each they leave fewer that are singular.
    """
    n_components = problem.n_components
    most = _most(problem, objective)
    return n_components <= _FEW and _MORE_OF_SEVERAL * n_components <= most


def _most(problem: StartData, objective: MixtureObjective) -> int:
    """Return how many components have enough samples each, on average."""
    n_samples = objective.samples_a_weight * problem.total_weight
    return int(n_samples / (_LEAST_SAMPLES * (problem.points.shape[1] + 1)))


def _on_start_data(task: Problem) -> MixtureObjective:
    """Return the cost on the samples that starts see."""
    problem, objective = task.problem, task.objective
    points, weights = problem.points, problem.sample_weight
    reductions = objective.reductions
    if not reductions.in_memory:
        reductions = reductions.factory(problem.covariance.structure)(points, weights)
    return replace(objective, reductions=reductions, total_weight=problem.total_weight)


def _pooled(objective: MixtureObjective, task: Problem) -> MixtureObjective:
    """Return the likelihood, with pooled covariances."""
    n_features = task.problem.points.shape[1]
    pooling = pooled_covariances(
        objective.covariance, "auto", task.sample_size, n_features
    )
    prior = Priors() if pooling is None else Priors(pooling)
    return replace(objective, prior=prior)
