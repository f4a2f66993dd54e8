"""How often the number of components is found, how well, and how fast.

    python benchmarks/bench_components.py                         # 48 draws
    python benchmarks/bench_components.py --seeds 1000 1200 --jobs 2 --save found.json
    python benchmarks/bench_components.py --seeds 0 100 --methods lic bic icl cv
    python benchmarks/bench_components.py --large

Each seed draws a mixture of K in {2, 3, 5, 8, 12, 20} components in D in {2, 5, 10}
features and N samples of it, 2,000 for at most 8 components and 4,000 for more:

- weights: half of each is 1 / K, the other half Dirichlet(5, ..., 5);
- covariances: random rotations of exp(u), u uniform in (-1, 1), as variances;
- means: standard normal, then scaled so that the closest two components i, j have
  the distance c in {2.5, 3, 4}, where ::

      distance^2 = (mu_i - mu_j)' inv((Sigma_i + Sigma_j) / 2) (mu_i - mu_j)

The methods, all with at most 30 components:

lic, bic, icl, cv
    `KeOpsGaussianMixtureCV` with that criterion.
grid
    `sklearn.mixture.GaussianMixture` for K = 1, ..., 30, the lowest BIC.
bayes
    `sklearn.mixture.BayesianGaussianMixture` with 30 components, those of weight
    above 0.01.

"exact" is the share of draws with the right number, "error" the mean of the distance
from it, "held out" the mean log-likelihood of N new samples, seconds are those of the
processor in one thread. McNemar's exact test compares the first method's hits with
those of each other. The spiral of KeOps' tutorial has no true number; its row tells
what each method finds.

With ``--large``: N = 200,000, K = 30, D = 3, at most 60 components, against a grid of
K = 10, 15, ..., 50, wall-clock seconds on all cores.
"""

import argparse
import math
import warnings
from itertools import combinations
from time import perf_counter, process_time

import numpy as np
import torch
from common import add_save, save
from joblib import Parallel, delayed
from scipy.stats import binomtest
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

MOST = 30
OURS = ("lic", "bic", "icl", "cv")
METHODS = ("lic", "bic", "icl", "grid", "bayes")


def draw_mixture(rng, K, D, closest):
    """Return weights, means and covariances."""
    weights = 0.5 / K + 0.5 * rng.dirichlet(np.full(K, 5.0))
    rotations = np.linalg.qr(rng.normal(size=(K, D, D))).Q
    variances = np.exp(rng.uniform(-1, 1, size=(K, 1, D)))
    covariances = rotations * variances @ rotations.transpose(0, 2, 1)
    means = rng.normal(size=(K, D))
    distances = []
    for i, j in combinations(range(K), 2):
        gap = means[i] - means[j]
        average = (covariances[i] + covariances[j]) / 2
        distances.append(math.sqrt(gap @ np.linalg.solve(average, gap)))
    return weights, means * closest / min(distances), covariances


def draw_samples(rng, mixture, N):
    """Return N samples."""
    weights, means, covariances = mixture
    labels = rng.choice(len(weights), size=N, p=weights)
    roots = np.linalg.cholesky(covariances)
    normal = rng.normal(size=(N, means.shape[1]))
    return means[labels] + np.einsum("nij,nj->ni", roots[labels], normal)


def draw(seed):
    """Return the true number of components, samples, and as many new ones."""
    rng = np.random.default_rng(seed)
    K = int(rng.choice([2, 3, 5, 8, 12, 20]))
    D = int(rng.choice([2, 5, 10]))
    mixture = draw_mixture(rng, K, D, float(rng.choice([2.5, 3.0, 4.0])))
    N = 2000 if K <= 8 else 4000
    return K, draw_samples(rng, mixture, N), draw_samples(rng, mixture, N)


def spiral(seed, N=10_000):
    """Return samples of the spiral of KeOps' tutorial."""
    t = np.linspace(0, 2 * np.pi, N)
    curve = (0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t))
    noise = np.random.RandomState(seed).normal(size=(N, 2))
    return np.stack(curve, axis=1) + 0.02 * noise


def fit(method, X, grid, most):
    """Return the number of components found and what scores new samples."""
    if method in OURS:
        model = KeOpsGaussianMixtureCV(most, criterion=method, random_state=0).fit(X)
        return model.n_components_, model
    if method == "grid":
        models = [GaussianMixture(k, random_state=0).fit(X) for k in grid]
        best = min(models, key=lambda model: model.bic(X))
        return best.n_components, best
    model = BayesianGaussianMixture(n_components=most, random_state=0).fit(X)
    return int((model.weights_ > 0.01).sum()), model


def run(seed, methods):
    """Return for each method what it finds in one draw; the spiral for no seed."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    K, X, new = (0, spiral(0), spiral(1)) if seed is None else draw(seed)
    found = {}
    with threadpool_limits(1):
        for method in methods:
            begin = process_time()
            K_found, model = fit(method, X, range(1, MOST + 1), MOST)
            seconds = process_time() - begin
            found[method] = {
                "found": K_found,
                "held_out": float(model.score(new)),
                "seconds": seconds,
            }
    return {"seed": seed, "K": K, "D": X.shape[1], "methods": found}


def mcnemar(ours, theirs):
    """Return the p-value of McNemar's exact test for two lists of hits."""
    only_ours = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    only_theirs = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    discordant = only_ours + only_theirs
    return binomtest(only_ours, discordant).pvalue if discordant else 1.0


def report(draws, curve, methods):
    """Print one row per method."""
    print(
        f"\n{len(draws)} draws\n{'':8}{'exact':>8}{'error':>8}{'held out':>10}"
        f"{'seconds':>9}{'McNemar p':>11}{'spiral':>8}{'held out':>10}"
    )
    K = np.array([result["K"] for result in draws])
    hits = {}
    for method in methods:
        rows = [result["methods"][method] for result in draws]
        found = np.array([row["found"] for row in rows])
        hits[method] = list(found == K)
        p = mcnemar(hits[methods[0]], hits[method])
        on_curve = curve["methods"][method]
        print(
            f"{method:8}{np.mean(found == K):8.1%}{np.mean(abs(found - K)):8.2f}"
            f"{np.mean([row['held_out'] for row in rows]):10.4f}"
            f"{np.mean([row['seconds'] for row in rows]):9.2f}{p:11.2g}"
            f"{on_curve['found']:8}{on_curve['held_out']:10.4f}"
        )


def large():
    """Compare with a grid where one fit takes long."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    mixture = draw_mixture(rng, 30, 3, 3.0)
    X, new = (draw_samples(rng, mixture, 200_000) for _ in range(2))
    rows = {}
    for method in ("lic", "grid"):
        begin = perf_counter()
        found, model = fit(method, X, range(10, 51, 5), 60)
        seconds = perf_counter() - begin
        rows[method] = {"found": found, "seconds": seconds}
        rows[method]["held_out"] = float(model.score(new))
        print(
            f"{method:6} found {found:3} of 30 components, held out "
            f"{rows[method]['held_out']:.4f}, {seconds:.1f} s",
            flush=True,
        )
    print(f"ratio {rows['grid']['seconds'] / rows['lic']['seconds']:.1f}")
    return rows


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs=2, type=int, default=(1000, 1048))
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--large", action="store_true")
    add_save(parser)
    arguments = parser.parse_args()
    results = {}
    if arguments.large:
        results["large"] = large()
    else:
        seeds = [None, *range(*arguments.seeds)]
        curve, *draws = Parallel(arguments.jobs, verbose=1)(
            delayed(run)(seed, arguments.methods) for seed in seeds
        )
        report(draws, curve, arguments.methods)
        results |= {"spiral": curve, "draws": draws}
    save(arguments.save, **results)


if __name__ == "__main__":
    main()
