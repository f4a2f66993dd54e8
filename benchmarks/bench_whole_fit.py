"""Time and score of whole fits with default parameters, against scikit-learn.

    OMP_NUM_THREADS=1 python benchmarks/bench_whole_fit.py
    python benchmarks/bench_whole_fit.py --samples 200000 --components 30 --seeds 5

The data are pixels of scikit-learn's china.jpg in grey levels from 0 to 255, with
uniform noise of half a grey level up or down. For each seed both estimators fit
them in one process, and processor and wall-clock times, steps and the mean
log-likelihood of all samples are printed, then the medians.
"""

import argparse
import statistics
import sys
import warnings
from time import perf_counter, process_time

import numpy as np
from common import add_save, save
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture


def load_pixels(n_samples):
    """Return random pixels, (n_samples, 3)."""
    pixels = load_sample_image("china.jpg").reshape(-1, 3).astype(float)
    rng = np.random.default_rng(0)
    X = pixels[rng.choice(len(pixels), n_samples, replace=False)]
    return X + rng.uniform(-0.5, 0.5, X.shape)


def fit(estimator, X):
    """Return processor seconds, wall-clock seconds, steps and score of a fit."""
    wall, processor = perf_counter(), process_time()
    estimator.fit(X)
    times = process_time() - processor, perf_counter() - wall
    return (*times, estimator.n_iter_, estimator.score(X))


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--components", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--init-size", type=int, help="by default the estimator's")
    add_save(parser)
    return parser.parse_args()


def main():
    """Run the benchmark, print the table."""
    arguments = parse_arguments()
    warnings.simplefilter("ignore", ConvergenceWarning)
    X = load_pixels(arguments.samples)
    given = {} if arguments.init_size is None else {"init_size": arguments.init_size}
    KeOpsGaussianMixture(2, max_iter=2).fit(X)  # imports and first uses
    rows = {"scikit-learn": [], "ours": []}
    print(f"{'seed':>6} {'estimator':<13} {'cpu s':>7} {'wall s':>7} steps    score")
    for seed in range(arguments.seeds):
        for name, estimator in (
            (
                "ours",
                KeOpsGaussianMixture(arguments.components, random_state=seed, **given),
            ),
            ("scikit-learn", GaussianMixture(arguments.components, random_state=seed)),
        ):
            row = fit(estimator, X)
            rows[name].append(row)
            print(
                f"{seed:6d} {name:<13} {row[0]:7.2f} {row[1]:7.2f} {row[2]:5d} "
                f"{row[3]:.5f}",
                flush=True,
            )
    median = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in rows.items()
    }
    for name, row in median.items():
        print(
            f"{'median':>6} {name:<13} {row[0]:7.2f} {row[1]:7.2f} {row[2]:5.0f} "
            f"{row[3]:.5f}"
        )
    theirs, ours = median["scikit-learn"], median["ours"]
    print(
        f"times faster: {theirs[0] / ours[0]:.1f} (processor), "
        f"{theirs[1] / ours[1]:.1f} (wall clock); score {ours[3] - theirs[3]:+.5f}"
    )
    columns = "processor seconds, wall-clock seconds, steps, score"
    save(arguments.save, columns=columns, fits=rows, medians=median)


if __name__ == "__main__":
    sys.exit(main())
