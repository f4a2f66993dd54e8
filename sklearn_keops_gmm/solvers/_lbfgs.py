"""L-BFGS-B on packed parameters, around one mixture after another."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, minimize

from sklearn_keops_gmm._model import (
    Evaluation,
    LazyParameters,
    MixtureParameters,
    SolverResult,
)
from sklearn_keops_gmm.solvers._descent import check_finite
from sklearn_keops_gmm.solvers._protocol import (
    Chart,
    Objective,
    OnStep,
    SolverSettings,
)

# The longest round: where components die or move far, the chart is no longer good.
_LONGEST = 20
# So many units in the last place of the cost are rounding error.
_ROUNDINGS = 4


def lbfgs(
    objective: Objective,
    start: MixtureParameters,
    settings: SolverSettings,
    on_step: OnStep,
) -> SolverResult:
    """Descend by L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995), scipy's.

    It goes in rounds. A round starts from a mixture, in coordinates in which the
    cost is well scaled there, holds the masses that weigh the ridge of `reg_covar`
    constant, and ends when an iteration lowers what is minimised by less than
    ``tol``, or after twenty. The fit has converged when the first iteration of a
    round lowers it by less.

    Raises
    ------
    ValueError
        If with ``reg_covar=0`` a component collapses.
    """
    parameters, converged = start, False
    history = _History(settings, on_step)
    while not converged and not history.full:
        around = objective.near(parameters)
        descent = _Round(around, history)
        minimize(
            descent.value_and_gradient,
            around.origin,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(*around.bounds),
            callback=descent.accept,
            # Otherwise the callback decides when to stop.
            options={"maxiter": _LONGEST, "ftol": 0.0, "gtol": 0.0},
        )
        descent.end()
        converged = descent.converged
        parameters = around.parameters(descent.packed)
        objective.check_not_collapsed(parameters, start)
    costs, log_likelihoods = tuple(history.costs), tuple(history.log_likelihoods)
    return SolverResult(parameters, costs, log_likelihoods, converged)


class _History:
    """The iterations of all rounds."""

    def __init__(self, settings: SolverSettings, on_step: OnStep) -> None:
        self.tol = settings.tol
        self._stopped = False
        self.costs: list[float] = []
        self.log_likelihoods: list[float] = []
        self._max_iter = settings.max_iter
        self._on_step = on_step

    @property
    def full(self) -> bool:
        """Whether no iteration may follow."""
        return self._stopped or len(self.costs) >= self._max_iter

    def add(
        self, before: Evaluation, fall: float, after: LazyParameters, converged: bool
    ) -> None:
        """Record an iteration: where it started, what it gained, where it led."""
        self.costs.append(before.cost)
        self.log_likelihoods.append(before.log_likelihood)
        self._stopped = self._on_step(len(self.costs), fall, after, converged)


class _Round:
    """What L-BFGS-B calls: the objective around one mixture, and after each step."""

    def __init__(self, around: Chart, history: _History) -> None:
        self.packed = self._tried = around.origin
        self._around = around
        self._history = history
        self._here = self._latest = _evaluate(around, around.origin)
        self._n_steps = 0
        # Whether the first step gained less than tol, or none could be made.
        self.converged = False

    def value_and_gradient(self, packed: np.ndarray) -> tuple[float, np.ndarray]:
        """Evaluate the objective, at the same vector as before only once."""
        if not np.array_equal(packed, self._tried):
            self._tried, self._latest = packed.copy(), _evaluate(self._around, packed)
        return self._latest.value, self._latest.gradient

    def accept(self, intermediate_result: OptimizeResult) -> None:
        """Record a step, and end the round where it gained little or was the last."""
        self.packed = intermediate_result.x.copy()
        self.value_and_gradient(self.packed)
        value = self._latest.value
        fall = self._here.value - value
        # Below rounding there is no fall, whatever tol is.
        rounding = _ROUNDINGS * np.finfo(float).eps * max(1.0, abs(value))
        little = fall < max(self._history.tol, rounding)
        self.converged = little and self._n_steps == 0
        self._record(fall)
        if little or self._history.full:
            raise StopIteration

    def end(self) -> None:
        """Record an attempt where not even a first step could be made."""
        if self._n_steps == 0:
            self.converged = True
            self._record(0.0)

    def _record(self, fall: float) -> None:
        self._n_steps += 1
        after = partial(self._around.parameters, self.packed)
        self._history.add(self._here, fall, after, self.converged)
        self._here = self._latest


def _evaluate(around: Chart, packed: np.ndarray) -> Evaluation:
    """Evaluate the objective, or raise ValueError where it is not finite.

    The line search would take NaN for a place like any other.
    """
    evaluation = around.evaluate(packed)
    check_finite(evaluation.value + float(np.abs(evaluation.gradient).sum()))
    return evaluation
