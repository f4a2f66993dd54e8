"""What ``verbose`` prints: scikit-learn's lines."""

from __future__ import annotations

from time import perf_counter


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

    def step(self, n_iter: int, change: float) -> None:
        """Report an iteration and by how much it raised the objective."""
        if not self._verbose or n_iter % self._interval:
            return
        line = f"  Iteration {n_iter}"
        if self._verbose > 1:
            now = perf_counter()
            line += f"\t time lapse {now - self._last:.5f}s\t ll change {change:.5f}"
            self._last = now
        print(line)

    def end(self, lower_bound: float, converged: bool) -> None:
        """Report the end of a start."""
        if not self._verbose:
            return
        line = f"Initialization {'converged' if converged else 'did not converge'}."
        if self._verbose > 1:
            lapse = perf_counter() - self._started
            line += f" time lapse {lapse:.5f}s\t lower bound {lower_bound:.5f}."
        print(line)
