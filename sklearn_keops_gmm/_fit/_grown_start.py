"""Clusters about grown centres: a start that no random number has a part in."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from numpy.random import RandomState
from numpy.typing import ArrayLike

from sklearn_keops_gmm._fit._filling import filled
from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._labelled_start import clusters_about
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._user_start import NOTHING_GIVEN
from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm.solvers import MOST_ON_A_PATH, grown


class Wanted(Protocol):
    """The estimator's parameters that say how a fit starts."""

    n_components: int
    init_params: str
    weights_init: ArrayLike | None
    means_init: ArrayLike | None
    precisions_init: ArrayLike | None


class Problem(Protocol):
    """What is to be started."""

    @property
    def problem(self) -> StartData:
        """What starts see."""

    @property
    def objective(self) -> MixtureObjective:
        """What solvers see."""


def is_grown(mixture: Wanted, task: Problem) -> bool:
    """Tell whether the centres of k-means are grown, not drawn, if moves follow.

    They are where a fit looks for few components, to be the same from every seed.
    """
    problem, prior = task.problem, task.objective.prior
    given = (mixture.weights_init, mixture.means_init, mixture.precisions_init)
    return (
        prior.selects
        and not prior.pools
        and mixture.init_params == "kmeans"
        and mixture.n_components <= MOST_ON_A_PATH
        and problem.component_labels is None
        and problem.noise is None
        and all(array is None for array in given)
    )


def grown_start(task: Problem) -> MixtureParameters:
    """Return where k-means ends that starts with the means of a grown mixture."""
    random_state = RandomState(0)  # of a single component each start is the same
    objective, problem = task.objective, filled(task.problem, random_state)
    ridge = objective.ridge
    alone = replace(problem, n_components=1)
    one = initialize(alone, "kmeans", NOTHING_GIVEN, ridge, random_state)
    state = objective.evaluate(one.normalised())
    whole = grown(objective.edits.uncharged(), state, problem.n_components)
    clusters = clusters_about(problem, whole.means)
    found = replace(problem, n_components=len(whole.weights), component_labels=clusters)
    start = initialize(found, "kmeans", NOTHING_GIVEN, ridge, random_state)
    return start.normalised()
