"""A step of EM with missing values beside one without, at the same parameters.

    OMP_NUM_THREADS=1 python benchmarks/bench_missing_step.py --save missing_step.json

Twenty full covariances, float64, one core, and 30 % of the numbers missing: 100,000
samples of 10 features, which have a thousand patterns, and 20,000 of 30, each of which
has a pattern of its own. Figures are milliseconds of processor time, the medians of
runs that take turns, and the median of their ratios.
"""

import argparse
from dataclasses import replace
from time import process_time

import numpy as np
import torch
from common import add_save, save

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._model import Frame
from sklearn_keops_gmm.backends import get_backend, suited_to

SIZES = [(100_000, 10), (20_000, 30)]
N_COMPONENTS, MISSING = 20, 0.3


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


def step(points, components):
    """Return what takes a step, and has prepared what is prepared once a fit."""
    frame = Frame(torch.zeros(points.shape[1], dtype=torch.float64))
    points = torch.from_numpy(points)
    reductions = suited_to(points, get_backend("native"))(points, None, frame)
    # A copy, as if its parameters were new: nothing is kept with them.
    return lambda: reductions.moments(replace(components))


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
    for n_samples, n_features in SIZES:
        *data, components = draw(n_samples, n_features, np.random.default_rng(0))
        runs = [step(points, components) for points in data]
        for run in runs:
            run()
        times = np.array(
            [[milliseconds(run) for run in runs] for _ in range(arguments.rounds)]
        )
        complete, missing = np.median(times, axis=0)
        rows.append(
            {
                "samples": n_samples,
                "features": n_features,
                "complete": round(float(complete), 2),
                "missing": round(float(missing), 2),
                "ratio": round(float(np.median(times[:, 1] / times[:, 0])), 2),
            }
        )
        print(rows[-1], flush=True)
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
