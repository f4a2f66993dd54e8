"""Where paths start that go down from many components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from sklearn.utils import check_random_state

from sklearn_keops_gmm._fit._groups import Groups
from sklearn_keops_gmm._fit._run import FitProblem, starting_point
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._seedless_start import (
    begins_by_kmeans,
    order_of,
    seedless_start,
)
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import MixtureParameters

# So many starts have data of few numbers; fewer where all would see more than so many.
_STARTS, _NUMBERS = 4, 40_000
# Principal axes are measured over such powers of their spreads, in turn: 0 is features
# as they are, 1 makes all directions alike.
_POWERS = (0.0, 1.0, 0.5, 0.0)


def path_starts(mixture: Any, task: FitProblem) -> Iterator[MixtureParameters]:
    """Yield where paths start: by k-means at the same places for any seed.

    Samples that are few leave the most to chance, and are soon done. Features that are
    much alike hide groups that differ across, so that k-means takes principal axes, too
    (Scrucca and Raftery, "Improved initialisation of model-based clustering using
    Gaussian hierarchical clustering", Advances in Data Analysis and Classification 9,
    2015).

    Parameters
    ----------
    mixture : estimator
        Its `random_state` is for starts of other kinds.
    task : FitProblem
    """
    problem, ridge = task.problem, task.objective.ridge
    if begins_by_kmeans(mixture, problem):
        n_starts = min(_STARTS, max(1, _NUMBERS // problem.points.numel()))
        for which, power in enumerate(islice(cycle(_POWERS), n_starts)):
            yield seedless_start(_along_axes(problem, power), ridge, which)
    else:
        yield drawn_start(mixture, task)


def _along_axes(problem: StartData, power: float) -> StartData:
    """Return the problem in which k-means measures principal axes."""
    if power == 0.0 or problem.spreads is None:
        return problem
    spreads = problem.spreads.cpu().numpy()
    axes = torch.from_numpy(Sample.of(problem).principal_axes(spreads, power))
    return replace(problem, axes=axes.to(problem.centre))


def in_order(task: FitProblem) -> FitProblem:
    """Return the problem with its samples in an order of their own, if they are few.

    Where values are tied, sums that round otherwise can lead to other mixtures.
    """
    problem, objective = task.problem, task.objective
    if not objective.reductions.in_memory or problem.points.numel() > _NUMBERS:
        return task
    rows = order_of(problem)
    problem = problem.of_rows(rows)
    reductions = objective.reductions.of_rows(rows)
    objective = replace(objective, reductions=reductions, groups=Groups(problem))
    return replace(task, problem=problem, objective=objective)


def drawn_start(mixture: Any, task: FitProblem) -> MixtureParameters:
    """Return where a path starts that goes by the seed of an estimator."""
    start = starting_point(mixture, task, check_random_state(mixture.random_state))
    total = float(start.weights.sum())
    if abs(total - 1.0) > 1e-9:  # scikit-learn's starts at single samples
        start = replace(start, weights=start.weights / total)
    return start
