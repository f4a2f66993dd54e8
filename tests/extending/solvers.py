"""A solver as a package of one's own may add it."""

from functools import partial

import numpy as np

from sklearn_keops_gmm._model import SolverResult


def steepest(objective, start, settings, on_step):
    """Go down the gradient, by Armijo's rule.

    Each step is made in coordinates around the mixture where it starts, in which the
    cost is well scaled.
    """
    parameters, converged = start, False
    previous, costs, log_likelihoods = settings.previous_cost, [], []
    for n_iter in range(1, settings.max_iter + 1):
        around = objective.near(parameters)
        here = around.evaluate(around.origin)
        costs.append(here.cost)
        log_likelihoods.append(here.log_likelihood)
        fall, previous = previous - here.cost, here.cost
        converged = fall < settings.tol
        step = partial(around.parameters, _below(around, here))
        parameters = step()
        if on_step(n_iter, fall, step, converged) or converged:
            break
    return SolverResult(parameters, tuple(costs), tuple(log_likelihoods), converged)


def _below(around, here):
    """Return where a step leads that is not too long."""
    size = 1.0
    while size > 1e-12:
        packed = np.clip(around.origin - size * here.gradient, *around.bounds)
        enough = 1e-4 * here.gradient @ (around.origin - packed)
        if around.evaluate(packed).value <= here.value - enough:
            return packed
        size /= 2
    return around.origin
