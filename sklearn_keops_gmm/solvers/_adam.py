"""Adam on unconstrained parameters, the whole data set at each step."""

from __future__ import annotations

import math
from functools import partial

import torch

from sklearn_keops_gmm._parameters import MixtureParameters, SolverResult
from sklearn_keops_gmm.solvers._protocol import Objective, OnStep, SolverSettings

# Adam's cost goes up and down: windows of this many steps are compared.
_WINDOW = 10


def adam(
    objective: Objective,
    start: MixtureParameters,
    settings: SolverSettings,
    on_step: OnStep,
) -> SolverResult:
    """Descend the gradient by Adam (Kingma and Ba, 2015).

    What moves are the logarithms of the weights, the means and square factors of
    the precisions, in the units of the data. Stops when the mean cost of the last
    ten steps is less than ``tol`` below that of the ten before; ``tol=0`` runs all
    of ``max_iter``.

    Raises
    ------
    ValueError
        If the cost is no longer finite: the learning rate is too large.
    """
    unknowns = [
        unknown.detach().clone().requires_grad_()
        for unknown in (start.weights.log(), start.means, start.precisions_cholesky)
    ]
    optimizer = torch.optim.Adam(unknowns, lr=settings.learning_rate)
    costs: list[float] = []
    log_likelihoods: list[float] = []
    converged = False
    previous = settings.previous_cost
    for n_iter in range(1, settings.max_iter + 1):
        optimizer.zero_grad()
        cost, ridge, log_likelihood = objective.differentiable_cost(*unknowns)
        costs.append(cost.item())
        log_likelihoods.append(log_likelihood.item())
        if not math.isfinite(costs[-1]):
            raise ValueError(
                f"solver='adam' diverged at iteration {n_iter}: the cost is "
                f"{costs[-1]}. Decrease learning_rate (got "
                f"{settings.learning_rate}) or scale the input data."
            )
        (cost + ridge).backward()
        optimizer.step()
        fall, previous = previous - costs[-1], costs[-1]
        converged = _rests(costs, settings.tol)
        stop = on_step(
            n_iter, fall, partial(objective.parameters, *unknowns), converged
        )
        if stop or converged:
            break
    parameters = objective.parameters(*unknowns)
    return SolverResult(parameters, tuple(costs), tuple(log_likelihoods), converged)


def _rests(costs: list[float], tol: float) -> bool:
    """Compare the mean cost of the last window with that of the one before."""
    if len(costs) < 2 * _WINDOW:
        return False
    before = sum(costs[-2 * _WINDOW : -_WINDOW]) / _WINDOW
    after = sum(costs[-_WINDOW:]) / _WINDOW
    return abs(before - after) < tol
