"""Steps of EM with missing values, and with noise, beside plain ones.

    OMP_NUM_THREADS=1 python benchmarks/bench_step_ratios.py --save step_ratios.json

All steps of a row have the same parameters: twenty full covariances. 30 % of numbers
are missing: 100,000 samples of 10 features then have a thousand patterns, and each of
20,000 samples of 30 features has one of its own. Noise has a fifth of the weight.
Figures are milliseconds of processor time on one core, the medians of runs that take
turns, and the medians of their ratios to the plain step.
"""

import argparse
from dataclasses import replace
from time import process_time

import numpy as np
import torch
from common import add_save, save

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._model import Frame, UniformNoise
from sklearn_keops_gmm.backends import beside_noise, get_backend, suited_to

SIZES = [
    (100_000, 3, "float64"),
    (100_000, 10, "float64"),
    (20_000, 30, "float64"),
    (100_000, 10, "float32"),
]
N_COMPONENTS, MISSING, NOISE = 20, 0.3, 0.2


def draw(n_samples, n_features, rng):
    """Return samples, the same with gaps, and components."""
    X = rng.normal(size=(n_samples, n_features))
    gaps = np.where(rng.random(X.shape) < MISSING, np.nan, X)
    factors = rng.normal(size=(N_COMPONENTS, n_features, 2 * n_features))
    mixture = KeOpsGaussianMixture.from_parameters(
        np.full(N_COMPONENTS, 1 / N_COMPONENTS),
        rng.normal(size=(N_COMPONENTS, n_features)),
        factors @ factors.transpose(0, 2, 1) / (2 * n_features),
    )
    return X, gaps, mixture._model().components


def step(points, components, noise=None):
    """Return what takes a step, and has prepared what is prepared once a fit."""
    frame = Frame(torch.zeros(points.shape[1], dtype=torch.float64))
    backend = beside_noise(suited_to(points, get_backend("native")), noise)
    reductions = backend(points, None, frame)
    # A copy, as if its parameters were new: nothing is kept with them.
    return lambda: reductions.moments(replace(components))


def steps(n_samples, n_features, dtype):
    """Return steps by what is special about them."""
    rng = np.random.default_rng(0)
    X, gaps, components = draw(n_samples, n_features, rng)
    X, gaps = (torch.from_numpy(points.astype(dtype)) for points in (X, gaps))
    low, high = (bound.values.double() for bound in (X.min(0), X.max(0)))
    noise = UniformNoise.within(low, high, None, torch.zeros_like(low))
    noisy = replace(components, noise_weight=NOISE)
    return {
        "plain": step(X, components),
        "missing": step(gaps, components),
        "noise": step(X, noisy, noise),
    }


def milliseconds(run):
    """Return the processor time of a call."""
    began = process_time()
    run()
    return 1e3 * (process_time() - began)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    add_save(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in SIZES:
        runs = steps(*size)
        for run in runs.values():
            run()
        rounds = range(arguments.rounds)
        times = np.array([[milliseconds(run) for run in runs.values()] for _ in rounds])
        row = dict(zip(("samples", "features", "dtype"), size, strict=True))
        for name, own in zip(runs, times.T, strict=True):
            row[name] = round(float(np.median(own)), 2)
        for name, own in list(zip(runs, times.T, strict=True))[1:]:
            row[f"{name}, ratio"] = round(float(np.median(own / times[:, 0])), 2)
        rows.append(row)
        print(row, flush=True)
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
