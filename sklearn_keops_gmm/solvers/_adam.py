"""Adam on unconstrained parameters, on all the data at each step or on a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters, SolverResult, Targets
from sklearn_keops_gmm.solvers._iterate import Iteration, iterate
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
    the precisions, in the units of the data. An iteration is a pass through the
    data, with one step for each of its batches; its cost is the mean over them, each
    at the parameters that its step started from. Stops when the mean cost of the last
    ten iterations differs by less than ``tol`` from that of the ten before;
    ``tol=0`` runs all of ``max_iter``.

    Raises
    ------
    ValueError
        If the cost is no longer finite: the learning rate is too large. Or if with
        ``reg_covar=0`` a component has collapsed.
    """
    steps = _steps(objective, start, settings)
    result, _ = iterate(start, steps, settings, on_step)
    objective.check_not_collapsed(result.parameters, start)
    return result


def _steps(
    objective: Objective, start: MixtureParameters, settings: SolverSettings
) -> Iterator[Iteration]:
    """Pass through the data again and again."""
    logits, means, factors = unknowns = tuple(
        unknown.detach().clone().requires_grad_()
        for unknown in (start.all_weights.log(), start.means, start.precisions_cholesky)
    )
    targets = start.targets
    optimizer = torch.optim.Adam(unknowns, lr=settings.learning_rate)
    costs: list[float] = []
    previous = settings.previous_cost
    while True:
        cost, log_likelihood = _pass(objective, unknowns, targets, optimizer, settings)
        costs.append(cost)
        if not math.isfinite(cost):
            raise ValueError(
                f"solver='adam' diverged at iteration {len(costs)}: the cost is "
                f"{cost}. Decrease learning_rate (got {settings.learning_rate}) or "
                "scale the input data."
            )
        fall, previous = previous - cost, cost
        reached = partial(objective.parameters, logits, means, factors, targets)
        converged = _has_converged(costs, settings.tol)
        yield Iteration((cost, log_likelihood), fall, reached, converged)


def _pass(
    objective: Objective,
    unknowns: tuple[Tensor, ...],
    targets: Targets | None,
    optimizer: torch.optim.Optimizer,
    settings: SolverSettings,
) -> tuple[float, float]:
    """Step on each batch; return the means of cost and log-likelihood over them."""
    logits, means, factors = unknowns
    cost = log_likelihood = 0.0
    batches = objective.batches(settings.batch_size, settings.random_state)
    for share, batch in batches:
        optimizer.zero_grad()
        terms = batch.differentiable_cost(logits, means, factors, targets=targets)
        cost += share * terms.cost.item()
        log_likelihood += share * terms.log_likelihood.item()
        if not math.isfinite(cost):
            break
        (terms.cost + terms.ridge).backward()
        optimizer.step()
    return cost, log_likelihood


def _has_converged(costs: list[float], tol: float) -> bool:
    """Compare the mean cost of the last window with that of the one before."""
    if len(costs) < 2 * _WINDOW:
        return False
    before = sum(costs[-2 * _WINDOW : -_WINDOW]) / _WINDOW
    after = sum(costs[-_WINDOW:]) / _WINDOW
    return abs(before - after) < tol
