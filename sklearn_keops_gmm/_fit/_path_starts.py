"""Where paths start that go down from many components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sklearn.utils import check_random_state

from sklearn_keops_gmm._fit._run import FitProblem, starting_point
from sklearn_keops_gmm._fit._seedless_start import begins_by_kmeans, seedless_start
from sklearn_keops_gmm._model import MixtureParameters

# So many starts have data of at most so many numbers, and others one.
_STARTS, _SMALL = 4, 10_000


def path_starts(mixture: Any, task: FitProblem) -> Iterator[MixtureParameters]:
    """Yield where paths start: by k-means at the same places for any seed.

    Samples that are few leave the most to chance, and are soon done.

    Parameters
    ----------
    mixture : estimator
        Its `random_state` is for starts of other kinds.
    task : FitProblem
    """
    problem, ridge = task.problem, task.objective.ridge
    if begins_by_kmeans(mixture, problem):
        for which in range(_STARTS if problem.points.numel() <= _SMALL else 1):
            yield seedless_start(problem, ridge, which)
    else:
        yield drawn_start(mixture, task)


def drawn_start(mixture: Any, task: FitProblem) -> MixtureParameters:
    """Return where a path starts that goes by the seed of an estimator."""
    start = starting_point(mixture, task, check_random_state(mixture.random_state))
    total = float(start.weights.sum())
    if abs(total - 1.0) > 1e-9:  # scikit-learn's starts at single samples
        start = replace(start, weights=start.weights / total)
    return start
