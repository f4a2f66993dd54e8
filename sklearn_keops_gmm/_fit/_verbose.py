"""What ``verbose`` prints: scikit-learn's lines, and those of what it has not."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter

from sklearn_keops_gmm._model import LazyParameters, MixtureParameters, SolverResult


class Reporter:
    """Print the progress of starts and iterations as scikit-learn does.

    Parameters
    ----------
    verbose : int
        0 is silent, 1 names starts and iterations, 2 adds times and changes.
    interval : int
        Print each so many iterations.
    """

    def __init__(self, verbose: int, interval: int) -> None:
        self._verbose = int(verbose)
        self._interval = interval
        self._started = self._last = perf_counter()

    def begin(self, start: int) -> None:
        """Announce start number `start`, from 0."""
        self._started = self._last = perf_counter()
        if self._verbose:
            print(f"Initialization {start}")

    def started(self, n_components: int) -> None:
        """Receive the number of components of a start, once it is found."""

    def step(self, n_iter: int, change: float, parameters: LazyParameters) -> None:
        """Report an iteration and by how much it raised the objective."""
        if not self._verbose or n_iter % self._interval:
            return
        print(f"  Iteration {n_iter}{self._change(change)}")

    def end(self, result: SolverResult) -> None:
        """Report the end of a start."""
        if not self._verbose:
            return
        converged = "converged" if result.converged else "did not converge"
        print(f"Initialization {converged}.{self._outcome(result)}")

    def _change(self, change: float) -> str:
        if self._verbose < 2:
            return ""
        now = perf_counter()
        lapse, self._last = now - self._last, now
        return f"\t time lapse {lapse:.5f}s\t ll change {change:.5f}"

    def _outcome(self, result: SolverResult) -> str:
        if self._verbose < 2:
            return ""
        lapse, bound = perf_counter() - self._started, result.log_likelihoods[-1]
        return f" time lapse {lapse:.5f}s\t lower bound {bound:.5f}."


class SparseReporter(Reporter):
    """Print also the cost, how many components are left, and moves.

    Parameters
    ----------
    verbose : int
    interval : int
    moves : bool
        Whether moves follow EM.
    tol : float
        They do where its cost changes by less.
    max_iter : int
        They do after so many iterations, too.
    cost : callable
        Returns the cost of some parameters.
    """

    def __init__(
        self,
        verbose: int,
        interval: int,
        moves: bool,
        tol: float,
        max_iter: int,
        cost: Callable[[MixtureParameters], float],
    ) -> None:
        super().__init__(verbose, interval)
        self._able, self._tol, self._max_iter = moves, tol, max_iter
        self._cost_of = cost

    def started(self, n_components: int) -> None:
        """Receive the number of components of a start, once it is found."""
        self._n_components, self._moves = n_components, False
        self._cost, self._is_next = math.nan, False

    def step(self, n_iter: int, change: float, parameters: LazyParameters) -> None:
        """Report an iteration, and a move whenever one is made."""
        if not self._verbose:
            return
        found = parameters()
        moves = self._able and (self._moves or n_iter > self._max_iter)
        if moves:
            # Components that leave can raise it, of which falls do not tell.
            self._cost = self._cost_of(found)
        else:
            self._follow(change, found)
        before, self._n_components = self._n_components, len(found.weights)
        if moves and before != self._n_components:
            print(
                f"  Move from {before} to {self._n_components} components\t "
                f"cost {self._cost:.5f}"
            )
        elif not n_iter % self._interval:
            print(
                f"  Iteration {n_iter}\t cost {self._cost:.5f}\t "
                f"components {self._n_components}{self._change(change)}"
            )
        # A change that is infinite is that of a run that begins anew.
        self._moves = math.isfinite(change) and (self._moves or abs(change) < self._tol)

    def _follow(self, change: float, parameters: MixtureParameters) -> None:
        """Find the cost: solvers tell only by how much it falls.

        A first iteration cannot tell that; and the cost that the next one starts from,
        and tells the fall to, is that of the parameters.
        """
        if not math.isfinite(change) or math.isnan(self._cost):
            self._cost, self._is_next = self._cost_of(parameters), True
        elif self._is_next:
            self._is_next = False
        else:
            self._cost -= change

    def _outcome(self, result: SolverResult) -> str:
        n_components = len(result.parameters.weights)
        left = f" cost {result.costs[-1]:.5f}\t components {n_components}."
        return left + super()._outcome(result)


class PathReporter:
    """Print the paths of a choice, their mixtures and its folds.

    Parameters
    ----------
    verbose : int
        0 is silent, 1 names paths, folds and the choice, 2 also each mixture.
    """

    def __init__(self, verbose: int) -> None:
        self._verbose = int(verbose)
        self._started = perf_counter()

    def path(self, covariance_type: str, n_components: int) -> None:
        """Announce a path."""
        if self._verbose:
            print(f"Path of {covariance_type!r} from {n_components} components")

    def mixture(self, n_components: int, score: float, criterion: str) -> None:
        """Report a mixture of the path, its mean log-likelihood and its criterion."""
        if self._verbose > 1:
            print(
                f"  {n_components} components\t log-likelihood {score:.5f}{criterion}"
            )

    def fold(self, i: int, n_folds: int) -> None:
        """Report that a fold is done."""
        if self._verbose:
            print(f"  Fold {i + 1} of {n_folds}")

    def choice(self, n_components: int, covariance_type: str, value: float) -> None:
        """Report what was chosen."""
        if self._verbose:
            lapse = perf_counter() - self._started
            print(
                f"Chosen: {n_components} components, {covariance_type!r}, criterion "
                f"{value:.5f}. time lapse {lapse:.5f}s"
            )
