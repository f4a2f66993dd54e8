"""Values that stand for all that rounds to them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sklearn_keops_gmm._fit._run import FitProblem


def over_what_rounds(task: FitProblem, rounded: Tensor | None) -> FitProblem:
    """Return a problem whose log-densities are means over what rounds to values.

    Parameters
    ----------
    task : FitProblem
    rounded : Tensor of shape (D,) or None
        The variances of that, 0 where a feature was not rounded; None if none was.
    """
    if rounded is None:
        return task
    # What is missing was not rounded.
    observed = rounded * task.problem.observed_shares
    return replace(task, objective=replace(task.objective, rounded=observed))
