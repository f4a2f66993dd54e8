"""Run many cases, each known by its seed, or one.

python -m tests.soak --fits 1000 --seed 123 --jobs 2 --timeout 60
python -m tests.soak --case 12345
"""

import argparse
import os
import sys
import time
from collections import defaultdict

import torch

from tests.soak import cases, fits, workers


def main():
    """Soak, and return 1 if something failed."""
    arguments = _parser().parse_args()
    if arguments.case is not None:
        return _one(arguments.case)
    seed = arguments.seed
    if seed is None:
        seed = time.time_ns() // 10**6
    print(f"soak: {arguments.fits} fits, --seed {seed}", flush=True)
    seeds = range(seed, seed + arguments.fits)
    start, found = time.monotonic(), defaultdict(list)
    for outcome in workers.outcomes(
        fits.run, seeds, jobs=arguments.jobs, timeout=arguments.timeout
    ):
        found[outcome.kind].append(outcome)
        if outcome.failed:
            print(f"FAILED {_command(outcome)}  # {outcome.kind}", flush=True)
    _summarise(found, time.monotonic() - start)
    return int(any(outcomes[0].failed for outcomes in found.values()))


def _parser():
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="of the first case; by the clock")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds of a case")
    parser.add_argument("--case", type=int, help="run this one, in this process")
    return parser


def _one(seed):
    torch.set_num_threads(1)
    print(cases.draw(seed).described(), flush=True)
    outcome = fits.run(seed)
    print(f"{outcome.kind} after {outcome.seconds:.2f} s\n{outcome.detail}")
    return int(outcome.failed)


def _command(outcome):
    return f"python -m tests.soak --case {outcome.seed}"


def _summarise(found, seconds):
    """Print how many cases ended in which way, failures last."""
    for kind in sorted(found, key=lambda kind: found[kind][0].failed):
        outcomes = found[kind]
        print(f"{len(outcomes):5d}  {kind}", end="")
        print(f"  # {_command(outcomes[0])}" if outcomes[0].failed else "")
    every = [outcome for outcomes in found.values() for outcome in outcomes]
    slowest = max(every, key=lambda outcome: outcome.seconds)
    print(f"{seconds:.0f} s; the slowest, {slowest.seconds:.1f} s: {_command(slowest)}")


if __name__ == "__main__":
    sys.exit(main())
