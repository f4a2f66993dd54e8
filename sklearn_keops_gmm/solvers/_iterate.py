"""The loop that solvers share: an iteration after another until one has converged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sklearn_keops_gmm._model import LazyParameters, MixtureParameters, SolverResult
from sklearn_keops_gmm.solvers._protocol import OnStep, SolverSettings


@dataclass(frozen=True)
class Iteration:
    """What an iteration of a solver comes to.

    Attributes
    ----------
    costs : tuple of (float, float), or None
        Penalised cost and mean log-likelihood of what it started from; None if that
        is not kept.
    fall : float
        Of the cost, since the iteration before.
    parameters : callable
        Returns the mixture that it led to.
    converged : bool
    """

    costs: tuple[float, float] | None
    fall: float
    parameters: LazyParameters
    converged: bool


def iterate(
    start: MixtureParameters,
    iterations: Iterator[Iteration],
    settings: SolverSettings,
    on_step: OnStep,
) -> tuple[SolverResult, bool]:
    """Run iterations until one has converged, `on_step` stops them, or `max_iter`.

    Returns
    -------
    result : SolverResult
    stopped : bool
        Whether `on_step` said so.
    """
    kept: list[tuple[float, float]] = []
    parameters: LazyParameters = lambda: start  # noqa: E731
    converged = stop = False
    for n_iter in range(1, settings.max_iter + 1):
        iteration = next(iterations)
        if iteration.costs is not None:
            kept.append(iteration.costs)
        parameters, converged = iteration.parameters, iteration.converged
        # Moves may follow what has converged.
        done = converged and not settings.moves
        stop = on_step(n_iter, iteration.fall, parameters, done)
        if stop or converged:
            break
    costs, log_likelihoods = tuple(zip(*kept, strict=True)) or ((), ())
    return SolverResult(parameters(), costs, log_likelihoods, converged), stop
