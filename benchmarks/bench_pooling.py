"""How many pseudo-samples of a target each covariance takes: `covariance_pooling`.

    python benchmarks/bench_pooling.py
    python benchmarks/bench_pooling.py --draws 100 --save pooling.json

Draws of `mixtures.py` with full, diagonal and spherical covariances, of at most 3,000
samples, are fitted with a quarter to four times the samples that "auto" takes, by the
criterion "lic", and with "auto" by "bic". "exact" is the share of draws with the right
number of components, "loss" what new samples lose in mean log-likelihood against the
true mixture. The seeds are below 10,000: it is here that "auto" was chosen.
"""

import argparse
import warnings

import numpy as np
import torch
from common import add_save, save
from mixtures import draw
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
BANDS = ("well", "mid", "few", "one")
MOST = 30
# The pseudo-samples that "auto" takes, by the number of features.
AUTO = {
    "full": lambda D: (D + 1) / 2,
    "diag": lambda D: 1.0,
    "spherical": lambda D: 1.0 / D,
}


def variants(covariance_type, D):
    """Return the parameters to compare, by name."""
    auto = AUTO[covariance_type](D)
    found = {f"{f:g} x": {"covariance_pooling": f * auto} for f in FACTORS}
    return found | {"auto, bic": {"criterion": "bic"}}


def run(seed, covariance_type):
    """Return what each variant finds in a draw; None if there are many samples."""
    design, mixture, X, new = draw(seed, covariance_type)
    if len(X) > 3000:
        return None
    best, found = mixture.score(new), {}
    for name, parameters in variants(covariance_type, X.shape[1]).items():
        model = KeOpsGaussianMixtureCV(
            MOST, covariance_type=covariance_type, random_state=0, **parameters
        ).fit(X)
        found[name] = {
            "exact": model.n_components_ == design["K"],
            "loss": best - model.score(new),
        }
    return {"type": covariance_type, "band": design["band"], "found": found}


def report(covariance_type, rows):
    """Print a line for each band and variant."""
    for band in BANDS:
        own = [row["found"] for row in rows if row["band"] == band]
        for name in own[0] if own else ():
            exact = np.mean([found[name]["exact"] for found in own])
            loss = np.mean([found[name]["loss"] for found in own])
            print(
                f"{covariance_type:10s} {band:5s}{len(own):4d}  {name:10s}"
                f"{exact:7.1%}{loss:9.4f}",
                flush=True,
            )


def main():
    """Print a table for each type."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20, help="of each type")
    parser.add_argument("--first-seed", type=int, default=3000)
    parser.add_argument("--types", nargs="+", default=list(AUTO), choices=list(AUTO))
    add_save(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("type       band  draws  pooling      exact     loss")
    results = []
    for covariance_type in options.types:
        rows, seed = [], options.first_seed
        with threadpool_limits(1):
            while len(rows) < options.draws:
                found = run(seed, covariance_type)
                seed += 1
                rows += [found] if found else []
        report(covariance_type, rows)
        results += rows
    save(options.save, draws=results)


if __name__ == "__main__":
    main()
