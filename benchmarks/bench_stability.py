"""Whether the number of components depends on the seed, and on the upper bound.

    python benchmarks/bench_stability.py                    # 20 draws
    python benchmarks/bench_stability.py --draws 60 --first-seed 20000 --save found.json

Draws of `mixtures.py`, with two components or more and at most 6,000 samples, and real
data of scikit-learn. Each is fitted with five seeds and bounds of 1.5, 2, 3 and 4 times
the true number (of real data: 15, 20, 30, 40). "same" is the share of draws that have
one number from all twenty fits, "exact" that of fits with the right number, "spread"
the largest difference of the criterion between two fits, in nats per sample, its mean
and its maximum over the draws. Seeds below 10,000 are for tuning.
"""

import argparse
import warnings
from time import process_time

import numpy as np
import torch
from common import add_save, save
from mixtures import draw
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

SEEDS = range(5)
BOUNDS = (1.5, 2, 3, 4)
BANDS = ("well", "mid")


def real_data():
    """Return data with a nominal number of components, by name."""
    digits = PCA(16, whiten=False, random_state=0).fit_transform(load_digits().data)
    return {
        "iris": (load_iris().data, 10),
        "wine": (scale(load_wine().data), 10),
        "digits": (digits, 10),
    }


def fits(X, K):
    """Return the numbers that twenty fits find, their criteria, and the seconds."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found, criteria, begin = [], [], process_time()
    for bound in BOUNDS:
        for seed in SEEDS:
            most = max(2, int(bound * K))
            model = KeOpsGaussianMixtureCV(most, random_state=seed).fit(X)
            found.append(model.n_components_)
            criteria.append(float(model.criterion_.min()))
    seconds = (process_time() - begin) / len(found)
    spread = (max(criteria) - min(criteria)) / (2 * len(X))
    return {"found": found, "spread": spread, "seconds": seconds}


def suitable(first_seed, n_draws):
    """Yield designs and samples of each band, `n_draws` of either."""
    left = dict.fromkeys(BANDS, n_draws)
    seed = first_seed
    while any(left.values()):
        design, _, X, *_ = draw(seed)
        seed += 1
        name = design["band"]
        if left.get(name, 0) and design["K"] > 1 and len(X) <= 6000:
            left[name] -= 1
            yield seed - 1, design, X


def line(name, rows, truths):
    """Print what one line of the table says."""
    same = np.mean([len(set(row["found"])) == 1 for row in rows])
    exact = np.mean(
        [np.equal(r["found"], K) for r, K in zip(rows, truths, strict=True)]
    )
    spreads = [row["spread"] for row in rows]
    seconds = np.mean([row["seconds"] for row in rows])
    print(
        f"{name:8s} {len(rows):5d} {same:8.1%} {exact:8.1%} {np.mean(spreads):8.4f} "
        f"{np.max(spreads):8.4f} {seconds:8.2f}",
        flush=True,
    )


def main():
    """Print a line for each band, and for each real data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20, help="of each band")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="real data only")
    add_save(parser)
    options = parser.parse_args()
    print("what     draws     same    exact   spread      max  seconds")
    results = []
    if not options.real:
        for seed, design, X in suitable(options.first_seed, options.draws):
            results.append(fits(X, design["K"]) | {"seed": seed, "design": design})
        for name in BANDS:
            rows = [row for row in results if row["design"]["band"] == name]
            line(name, rows, [row["design"]["K"] for row in rows])
    for name, (X, K) in real_data().items():
        row = fits(X, K) | {"name": name}
        results.append(row)
        line(name, [row], [K])
        print(f"         {row['found']}")
    save(options.save, results=results)


if __name__ == "__main__":
    main()
