"""Processes that run cases: one that crashes or hangs is seen, named and replaced."""

import faulthandler
import multiprocessing
import signal
import time
from multiprocessing.connection import wait

import torch

from tests.soak.fits import Outcome

# A process that is to import torch beside others is given so much longer.
_STARTING = 120.0


def outcomes(run, seeds, *, jobs, timeout):
    """Yield the `Outcome` of each case, in the order in which they end.

    Parameters
    ----------
    run : callable
        Makes an `Outcome` of a seed; a function of a module, as processes import it.
    seeds : iterable of int
    jobs : int
        How many processes run at once.
    timeout : float
        Seconds from which a case hangs.
    """
    waiting = iter(seeds)
    workers = []
    try:
        for seed in waiting:
            workers.append(Worker(run, seed, timeout))
            if len(workers) == jobs:
                break
        while workers:
            wait([worker.pipe for worker in workers], _until_first_deadline(workers))
            for worker in list(workers):
                outcome = worker.outcome()
                if outcome is None:
                    continue
                yield outcome
                seed = next(waiting, None)
                if seed is None:
                    workers.remove(worker)
                    worker.stop()
                else:
                    worker.go_on(seed)
    finally:
        for worker in workers:
            worker.stop()


def _until_first_deadline(workers):
    return max(0.0, min(worker.deadline for worker in workers) - time.monotonic())


class Worker:
    """A process that runs one case after another."""

    def __init__(self, run, seed, timeout):
        self._run, self._timeout = run, timeout
        self._start()
        self._give(seed, _STARTING)

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = theirs, self._run, self._timeout
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def _give(self, seed, extra=0.0):
        self._seed, self._began = seed, time.monotonic()
        self.deadline = self._began + self._timeout + extra
        self.pipe.send(seed)

    def go_on(self, seed):
        """Run another case, in another process if this one has ended."""
        if self._process.is_alive():
            self._give(seed)
        else:
            self.pipe.close()
            self._start()
            self._give(seed, _STARTING)

    def outcome(self):
        """Return how the case ended, or None if it has not."""
        seconds = time.monotonic() - self._began
        if self.pipe.poll():
            try:
                answer = self.pipe.recv()
            except EOFError:
                self._process.join()
                kind = f"crash: {_name_of(self._process.exitcode)}"
                return Outcome(self._seed, kind, "", seconds)
            if answer is not None:
                return answer
            # It is ready: only now its time begins.
            self.deadline = time.monotonic() + self._timeout
        elif time.monotonic() >= self.deadline:
            self.stop()
            return Outcome(self._seed, "hang", "", seconds)
        return None

    def stop(self):
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()


def _name_of(exit_code):
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return signal.Signals(-exit_code).name


def _serve(pipe, run, timeout):
    """Run the cases that come through a pipe."""
    torch.set_num_threads(1)
    faulthandler.enable()
    pipe.send(None)
    while True:
        seed = pipe.recv()
        # Says where a case hangs, before its end.
        faulthandler.dump_traceback_later(0.9 * timeout)
        outcome = run(seed)
        faulthandler.cancel_dump_traceback_later()
        pipe.send(outcome)
