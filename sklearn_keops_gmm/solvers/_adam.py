"""Adam on unconstrained parameters, on all the data at each step or on a batch."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters, SolverResult, Targets
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
    logits, means, factors = unknowns = tuple(
        unknown.detach().clone().requires_grad_()
        for unknown in (start.weights.log(), start.means, start.precisions_cholesky)
    )
    targets = start.targets
    optimizer = torch.optim.Adam(unknowns, lr=settings.learning_rate)
    costs: list[float] = []
    log_likelihoods: list[float] = []
    converged = False
    previous = settings.previous_cost
    for n_iter in range(1, settings.max_iter + 1):
        cost, log_likelihood = _pass(objective, unknowns, targets, optimizer, settings)
        costs.append(cost)
        log_likelihoods.append(log_likelihood)
        if not math.isfinite(cost):
            raise ValueError(
                f"solver='adam' diverged at iteration {n_iter}: the cost is {cost}. "
                f"Decrease learning_rate (got {settings.learning_rate}) or scale the "
                "input data."
            )
        fall, previous = previous - cost, cost
        converged = _has_converged(costs, settings.tol)
        reached = partial(objective.parameters, logits, means, factors, targets)
        if on_step(n_iter, fall, reached, converged) or converged:
            break
    parameters = objective.parameters(logits, means, factors, targets)
    objective.check_not_collapsed(parameters, start)
    return SolverResult(parameters, tuple(costs), tuple(log_likelihoods), converged)


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
    for batch in objective.batches(settings.batch_size, settings.random_state):
        optimizer.zero_grad()
        terms = batch.differentiable_cost(logits, means, factors, targets=targets)
        share = batch.total_weight / objective.total_weight
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
