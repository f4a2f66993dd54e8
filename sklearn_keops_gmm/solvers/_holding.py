"""Solvers under hyperparameters that they hold, and that follow what they find."""

from __future__ import annotations

from dataclasses import replace

from sklearn_keops_gmm._model import LazyParameters, MixtureParameters, SolverResult
from sklearn_keops_gmm.solvers._protocol import (
    Objective,
    OnStep,
    Solver,
    SolverSettings,
)

# So often targets are renewed at most; each time they move by a fraction of the last.
_RENEWALS = 30


def holding(solver: Solver) -> Solver:
    """Return the solver that holds the targets of covariances until it converges.

    Then they are renewed, and it continues from there, until they hardly move. Without
    targets it is the solver itself.
    """

    def solve(
        objective: Objective,
        start: MixtureParameters,
        settings: SolverSettings,
        on_step: OnStep,
    ) -> SolverResult:
        held = objective.hold(start)
        if held is None or settings.max_iter == 0:
            return solver(objective, start, settings, on_step)
        result = SolverResult(held, (), (), False)
        for _ in range(_RENEWALS):
            step = _Counted(on_step, len(result.costs))
            left = replace(settings, max_iter=settings.max_iter - len(result.costs))
            found = solver(objective, held, left, step)
            result = replace(
                found,
                costs=result.costs + found.costs,
                log_likelihoods=result.log_likelihoods + found.log_likelihoods,
            )
            full = len(result.costs) >= settings.max_iter
            if step.stopped or full or not found.converged:
                return result
            renewed = objective.renewed(objective.evaluate(found.parameters))
            if renewed is None:
                return result
            held = renewed.parameters
        return replace(result, converged=False)

    return solve


class _Counted:
    """What is called after each iteration of one of several runs.

    Parameters
    ----------
    on_step : OnStep
    n_before : int
        Iterations of the runs before.
    """

    def __init__(self, on_step: OnStep, n_before: int) -> None:
        self._on_step = on_step
        self._n_before = n_before
        self.stopped = False

    def __call__(
        self, n_iter: int, fall: float, parameters: LazyParameters, done: bool
    ) -> bool:
        """Pass an iteration on; none is known to be the last."""
        self.stopped = self._on_step(self._n_before + n_iter, fall, parameters, False)
        return self.stopped
