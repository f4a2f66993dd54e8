"""One EM step of every package for Gaussian mixtures that is installed, in one table.

    python -m pip install -r benchmarks/requirements-peers.txt   # or some of them
    python benchmarks/bench_peers.py --save results/peers.json
    python benchmarks/plot_peers.py results/peers.json
    python benchmarks/bench_peers.py --device cuda --save results/peers_cuda.json

Each package, shape and dtype runs in a process of its own, on the same patches of
photographs from the same start: equal weights, samples as means, and the covariance
of all samples (torchgmm takes the means only). A step is the slope of the fit's time
between one and several iterations; the median over the rounds is reported, with all
rounds in the file. What fails is reported with its error.

On CUDA the shapes are larger, and the package's two backends take part by name.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import warnings
from time import perf_counter, process_time

import numpy as np
import torch
from bench_em_step import SHAPES, common_start, load_patches
from common import add_save, describe_machine, save
from peers import PEERS, parse_shape

BY_BACKEND = ("sklearn_keops_gmm, torch", "sklearn_keops_gmm, KeOps")
DEFAULTS = {
    "cpu": (SHAPES, [name for name in PEERS if name not in BY_BACKEND]),
    "cuda": (
        (
            "1000000x3x100",
            "1000000x16x256",
            "1000000x128x1024:diag",
            "1000000x128x1024:spherical",
        ),
        [name for name in PEERS if name != "scikit-learn"],
    ),
}


def measure(name, shape, dtype, device, rounds, clock):
    """Time one peer in this process; return a dictionary of seconds."""
    warnings.simplefilter("ignore")
    N, D, M, structure = parse_shape(shape)
    X = load_patches(N, D, dtype)
    fit = PEERS[name][1](X, common_start(X, M, structure), device)

    def seconds(max_iter):
        begin = clock()
        fit(max_iter)
        if device == "cuda":
            torch.cuda.synchronize()
        return clock() - begin

    first = seconds(1)
    seconds(4)  # some compile anew for each number of iterations
    step = max((seconds(4) - seconds(1)) / 3, 1e-9)
    more = int(np.clip(0.5 / step, 3, 50))
    seconds(1 + more)
    pairs = [(seconds(1), seconds(1 + more)) for _ in range(rounds)]
    steps = [(several - one) / more for one, several in pairs]
    return {"step": statistics.median(steps), "steps": steps, "first": first}


def in_own_process(name, shape, dtype, arguments):
    """Return what `measure` returns, from a process of its own, or the error."""
    command = [sys.executable, __file__, "--measure", name, shape, dtype]
    command += ["--device", arguments.device, "--rounds", str(arguments.rounds)]
    command += ["--cpu-time"] if arguments.cpu_time else []
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=arguments.timeout,
            env=os.environ | {"SCIPY_ARRAY_API": "1"},
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {arguments.timeout} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return {"error": lines[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", metavar="NxDxM[:structure]")
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    parser.add_argument("--peers", nargs="+", choices=PEERS)
    parser.add_argument("--device", choices=DEFAULTS, default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each")
    parser.add_argument("--cpu-time", action="store_true", help="not the clock's")
    add_save(parser)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shapes, peers = DEFAULTS[arguments.device]
    arguments.shapes = arguments.shapes or shapes
    arguments.peers = arguments.peers or peers
    return arguments


def main():
    """Run the benchmark, print the table."""
    arguments = parse_arguments()
    if arguments.measure:
        clock = process_time if arguments.cpu_time else perf_counter
        given = *arguments.measure, arguments.device, arguments.rounds
        print(json.dumps(measure(*given, clock)))
        return
    machine = describe_machine()
    for peer in ("torchgmm", "gmmx", "pomegranate"):
        if importlib.util.find_spec(peer):
            machine[peer] = importlib.metadata.version(peer)
    machine["times"] = "processor" if arguments.cpu_time else "wall-clock"
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), end="\n\n")
    print(f"{'shape':<26} {'dtype':<8} {'package':<24} {'step ms':>9} {'ns/pair':>8}")
    results = []
    for shape in arguments.shapes:
        N, _, M, _ = parse_shape(shape)
        for dtype in arguments.dtypes:
            for name in arguments.peers:
                if importlib.util.find_spec(PEERS[name][0]) is None:
                    continue
                found = in_own_process(name, shape, dtype, arguments)
                results.append(
                    {"package": name, "shape": shape, "dtype": dtype, **found}
                )
                times = found.get("error") or (
                    f"{1e3 * found['step']:9.2f} {1e9 * found['step'] / N / M:8.1f}"
                )
                print(f"{shape:<26} {dtype:<8} {name:<24} {times}", flush=True)
                save(arguments.save, machine=machine, results=results)


if __name__ == "__main__":
    sys.exit(main())
