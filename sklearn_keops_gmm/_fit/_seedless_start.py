"""Starts that depend on the samples alone: not on a seed, nor on their order."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike

from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._user_start import NOTHING_GIVEN
from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm.solvers import MOST_ON_A_PATH


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


def is_seedless(mixture: Wanted, task: Problem) -> bool:
    """Tell whether a fit whose moves look for few components has such a start.

    What follows the start depends on no seed there either.
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


def seedless_start(task: Problem) -> MixtureParameters:
    """Return where k-means ends of samples in an order of their own, from one seed."""
    objective, problem = task.objective, _in_order(task.problem)
    start = initialize(
        problem, "kmeans", NOTHING_GIVEN, objective.ridge, RandomState(0)
    )
    return start.normalised()


def _in_order(problem: StartData) -> StartData:
    """Return the problem with its samples in the order of their features."""
    weights = problem.sample_weight
    keys = [problem.points.cpu().numpy().T]
    if weights is not None:
        keys.insert(0, weights.cpu().numpy()[None])
    order = torch.from_numpy(np.lexsort(np.concatenate(keys))).to(problem.points.device)
    return replace(
        problem,
        points=problem.points[order],
        sample_weight=None if weights is None else weights[order],
    )
