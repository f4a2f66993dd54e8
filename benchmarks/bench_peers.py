"""One EM step of every package for Gaussian mixtures that is installed, in one table.

    python -m pip install -r benchmarks/requirements-peers.txt   # or some of them
    python benchmarks/bench_peers.py --save results/peers.json
    python benchmarks/plot_peers.py results/peers.json

Each package, shape and dtype runs in a process of its own, on the same patches of
photographs from the same start: equal weights, samples as means, and the covariance
of all samples (torchgmm takes the means only). A step is the slope of the fit's time
between one and several iterations; the median over the rounds is reported, with all
rounds in the file. What fails is reported with its error.
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
from bench_em_step import SHAPES, common_start, load_patches
from common import add_save, describe_machine, save

REG_COVAR = 0.1


def ours(X, start):
    """Return a function that fits with a number of iterations."""
    from sklearn_keops_gmm import KeOpsGaussianMixture

    return lambda max_iter: KeOpsGaussianMixture(max_iter=max_iter, **start).fit(X)


def scikit_learn(X, start):
    """Return a function that fits with a number of iterations."""
    from sklearn.mixture import GaussianMixture

    return lambda max_iter: GaussianMixture(max_iter=max_iter, **start).fit(X)


def scikit_learn_on_torch(X, start):
    """Return a function that fits with a number of iterations."""
    import torch
    from sklearn import config_context

    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in start.items()
    }
    # k-means, of which it makes no use here, is refused with tensors.
    tensors["init_params"] = "random_from_data"
    fit_one = scikit_learn(torch.from_numpy(X), tensors)

    def fit(max_iter):
        with config_context(array_api_dispatch=True):
            fit_one(max_iter)

    return fit


def torchgmm(X, start):
    """Return a function that fits with a number of iterations."""
    import logging

    import torch
    from torchgmm.bayes import GaussianMixture

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    points, means = torch.from_numpy(X), torch.from_numpy(start["means_init"])

    def fit(max_iter):
        GaussianMixture(
            start["n_components"],
            covariance_type="full",
            init_means=means,
            convergence_tolerance=0.0,
            covariance_regularization=REG_COVAR,
            trainer_params={
                "max_epochs": max_iter,
                "accelerator": "cpu",
                "precision": 8 * X.itemsize,
                "logger": False,
                "enable_progress_bar": False,
                "enable_checkpointing": False,
                "enable_model_summary": False,
            },
        ).fit(points)

    return fit


def gmmx(X, start):
    """Return a function that fits with a number of iterations."""
    import jax

    jax.config.update("jax_enable_x64", X.dtype == np.float64)
    from gmmx import EMFitter, GaussianMixtureModelJax

    mixture = GaussianMixtureModelJax.from_squeezed(
        means=start["means_init"],
        covariances=np.linalg.inv(start["precisions_init"]),
        weights=start["weights_init"],
    )
    points = jax.numpy.asarray(X)

    def fit(max_iter):
        fitter = EMFitter(max_iter, tol=0.0, reg_covar=REG_COVAR)
        found = fitter.fit(points, mixture)
        if found.n_iter < max_iter:
            raise ArithmeticError(f"log-likelihood {found.log_likelihood}: it stopped")

    return fit


def pomegranate(X, start):
    """Return a function that fits with a number of iterations."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    points = torch.from_numpy(X)
    covariances = np.linalg.inv(start["precisions_init"])

    def fit(max_iter):
        GeneralMixtureModel(
            [
                Normal(torch.from_numpy(mean), torch.from_numpy(covariance))
                for mean, covariance in zip(
                    start["means_init"], covariances, strict=True
                )
            ],
            priors=torch.from_numpy(start["weights_init"]),
            max_iter=max_iter,
            tol=-np.inf,
        ).fit(points)

    return fit


# name: the module that has to be installed, and what makes the fits
PEERS = {
    "sklearn_keops_gmm": ("sklearn_keops_gmm", ours),
    "scikit-learn": ("sklearn", scikit_learn),
    "scikit-learn on torch": ("sklearn", scikit_learn_on_torch),
    "torchgmm": ("torchgmm", torchgmm),
    "gmmx": ("gmmx", gmmx),
    "pomegranate": ("pomegranate", pomegranate),
}


def measure(name, shape, dtype, rounds, clock):
    """Time one peer in this process; return a dictionary of seconds."""
    warnings.simplefilter("ignore")
    N, D, M = map(int, shape.split("x"))
    X = load_patches(N, D, dtype)
    fit = PEERS[name][1](X, {**common_start(X, M), "reg_covar": REG_COVAR})

    def seconds(max_iter):
        begin = clock()
        fit(max_iter)
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
    command += ["--rounds", str(arguments.rounds)]
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
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="NxDxM")
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each")
    parser.add_argument("--cpu-time", action="store_true", help="not the clock's")
    add_save(parser)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Run the benchmark, print the table."""
    arguments = parse_arguments()
    if arguments.measure:
        clock = process_time if arguments.cpu_time else perf_counter
        print(json.dumps(measure(*arguments.measure, arguments.rounds, clock)))
        return
    machine = describe_machine()
    for peer in ("torchgmm", "gmmx", "pomegranate"):
        if importlib.util.find_spec(peer):
            machine[peer] = importlib.metadata.version(peer)
    machine["times"] = "processor" if arguments.cpu_time else "wall-clock"
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), end="\n\n")
    print(f"{'shape':<14} {'dtype':<8} {'package':<22} {'step ms':>9} {'ns/pair':>8}")
    results = []
    for shape in arguments.shapes:
        N, _, M = map(int, shape.split("x"))
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
                print(f"{shape:<14} {dtype:<8} {name:<22} {times}", flush=True)
                save(arguments.save, machine=machine, results=results)


if __name__ == "__main__":
    sys.exit(main())
