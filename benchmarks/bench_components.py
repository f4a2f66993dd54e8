"""How often the number of components is found, how well, and how fast.

    python benchmarks/bench_components.py                         # 40 draws, ours alone
    python benchmarks/bench_components.py --seeds 20000 20400 --oracle --save found.json
    python benchmarks/bench_components.py --methods lic grid grid5 bayes mclust
    python benchmarks/bench_components.py --copies
    python benchmarks/bench_components.py --large

Each seed draws a design (see `mixtures.py`): K components of 1 to 20, D features of 1
to 20, 20 to 1000 samples for each component, the largest overlap of two components .001
to .05, variances within a component that differ up to 100-fold, equal weights or not.
The draws fall into bands by the samples of the smallest component: "well", from
10 (D + 1) on; "mid", from 4 (D + 1) on; "few"; and "one", where there is but one
component. Seeds below 10,000 are for tuning; figures that are reported are of seeds
from 20,000 on.

The methods, all with at most 30 components:

lic, auto
    `KeOpsGaussianMixtureCV`, with full covariances or the best of all six types.
grid, grid5
    `sklearn.mixture.GaussianMixture` for K = 1, ..., 30 with one start or five, the
    lowest BIC.
bayes
    `sklearn.mixture.BayesianGaussianMixture` with 30 components, those of weight
    above 0.01.
mclust
    R's mclust, all its 14 models and up to 30 components, by `Rscript`; of data with
    at most 2,000 samples and 2,500 numbers: it takes minutes for more.

"exact" is the share of draws with the right number; "of oracle" the same among those
where the criterion prefers the true number to one more or less, started from the truth
(``--oracle``); "error" the mean distance from the right number, "loss" what new samples
lose in mean log-likelihood against the true mixture, seconds those of the processor.

``--copies`` compares each answer with that for the same data rounded, scaled feature by
feature, moved, and in float32. ``--large`` takes 100,000 and 1,000,000 samples.
"""

import argparse
import subprocess
import tempfile
import warnings
from pathlib import Path
from time import process_time

import numpy as np
import torch
from common import add_save, save
from joblib import Parallel, delayed
from mixtures import draw
from oracle import prefers_truth
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

MOST = 30
BANDS = ("well", "mid", "few", "one")
METHODS = ("lic", "auto", "grid", "grid5", "bayes", "mclust")
MOST_FOR_MCLUST = 2000, 2500
MCLUST = """
suppressMessages(library(mclust))
X <- as.matrix(read.csv("{train}", header=FALSE))
new <- as.matrix(read.csv("{test}", header=FALSE))
fit <- Mclust(X, G=1:{most}, verbose=FALSE)
log_density <- dens(data=new, modelName=fit$modelName, parameters=fit$parameters,
                    logarithm=TRUE)
cat(fit$G, fit$modelName, mean(log_density), proc.time()[["user.self"]], "\\n")
write.table(fit$classification, "{labels}", row.names=FALSE, col.names=FALSE)
"""


def ours(X, new, **parameters):
    """Fit our class; return what it finds."""
    model = KeOpsGaussianMixtureCV(MOST, random_state=0, **parameters).fit(X)
    return model.n_components_, model.score(new), model.predict(X)


def grid(X, new, n_init):
    """Fit scikit-learn's class for each number of components."""
    sizes = range(1, min(MOST, len(X)) + 1)
    models = [GaussianMixture(K, n_init=n_init, random_state=0).fit(X) for K in sizes]
    best = min(models, key=lambda model: model.bic(X))
    return best.n_components, best.score(new), best.predict(X)


def bayes(X, new):
    """Fit scikit-learn's variational class."""
    most = min(MOST, len(X))
    model = BayesianGaussianMixture(n_components=most, random_state=0).fit(X)
    return int((model.weights_ > 0.01).sum()), model.score(new), model.predict(X)


def mclust(X, new):
    """Fit R's mclust; None if there are too many samples."""
    if len(X) > MOST_FOR_MCLUST[0] or X.size > MOST_FOR_MCLUST[1]:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("train", "test", "labels")}
        np.savetxt(files["train"], X, delimiter=",")
        np.savetxt(files["test"], new, delimiter=",")
        script = MCLUST.format(**files, most=min(MOST, len(X) - 1))
        done = subprocess.run(
            ["Rscript", "-e", script], capture_output=True, text=True, check=True
        )
        K, _, score, seconds = done.stdout.split()
        labels = np.loadtxt(files["labels"], dtype=int)
    return int(K), float(score), labels, float(seconds)


FITS = {
    "lic": ours,
    "auto": lambda X, new: ours(X, new, covariance_type="auto"),
    "grid": lambda X, new: grid(X, new, 1),
    "grid5": lambda X, new: grid(X, new, 5),
    "bayes": bayes,
    "mclust": mclust,
}


def fit(method, X, new):
    """Return what a method finds, with the seconds that it took; None if nothing."""
    begin = process_time()
    found = FITS[method](X, new)
    seconds = process_time() - begin
    if found is None:
        return None
    K, score, _, *own = found
    result = {"found": int(K), "held_out": float(score)}
    return result | {"seconds": (own or [seconds])[0]}


def run(seed, methods, oracle):
    """Return a design and what each method finds in its draw."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        design, mixture, X, new = draw(seed)
        found = {method: fit(method, X, new) for method in methods}
        truth = prefers_truth(mixture, X) if oracle else None
    return design | {
        "seed": seed,
        "oracle": truth,
        "true_held_out": mixture.score(new),
        "methods": {name: result for name, result in found.items() if result},
    }


def run_copies(seed):
    """Return the numbers that are found in copies of the same data."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        design, _, X, _ = draw(seed)
        rng = np.random.default_rng(seed)
        step = X.std(0) / 20
        copies = {
            "as drawn": X,
            "rounded to a twentieth of the width": (X / step).round() * step,
            "times 1e-4": X * 1e-4,
            "features of other units": X * 10.0 ** rng.integers(-3, 4, X.shape[1]),
            "moved by 1000 widths": X + 1000 * X.std(),
            "float32": X.astype(np.float32),
        }
        found = {name: ours(copy, copy)[0] for name, copy in copies.items()}
    return design | {"seed": seed, "found": found}


def run_large(N, seed):
    """Return what ours finds of two and of five components among many samples."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    two = np.concatenate([rng.normal(0, 1, N // 2), rng.normal(3, 1, N - N // 2)])
    centres = 4.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 2]])
    five = centres[rng.integers(5, size=N)] + rng.normal(size=(N, 2))
    rows = []
    for name, K, X in (("two, 3 widths apart", 2, two[:, None]), ("five", 5, five)):
        begin = process_time()
        found = KeOpsGaussianMixtureCV(MOST, random_state=seed).fit(X).n_components_
        rows.append(
            {"case": name, "N": N, "K": K, "found": found, "seed": seed}
            | {"seconds": process_time() - begin}
        )
    return rows


def report(draws, methods):
    """Print a table for each band."""
    print(
        f"\n{'band':6}{'draws':>6}  {'method':8}{'exact':>8}{'of oracle':>11}"
        f"{'error':>7}{'loss':>8}{'seconds':>9}"
    )
    for band in BANDS:
        for method in methods:
            rows = [d for d in draws if d["band"] == band and method in d["methods"]]
            if not rows:
                continue
            found = np.array([d["methods"][method]["found"] for d in rows])
            K = np.array([d["K"] for d in rows])
            loss = [d["true_held_out"] - d["methods"][method]["held_out"] for d in rows]
            seconds = np.mean([d["methods"][method]["seconds"] for d in rows])
            told = np.array([d["oracle"] is True for d in rows])
            of_oracle = (
                f"{np.mean((found == K)[told]):11.1%}" if told.any() else f"{'':11}"
            )
            print(
                f"{band:6}{len(rows):6}  {method:8}{np.mean(found == K):8.1%}"
                f"{of_oracle}{np.mean(abs(found - K)):7.2f}{np.mean(loss):8.3f}"
                f"{seconds:9.2f}"
            )
        told = [
            d["oracle"] for d in draws if d["band"] == band and d["oracle"] is not None
        ]
        if told:
            print(f"{band:6}{len(told):6}  oracle  {np.mean(told):8.1%}")


def report_copies(draws):
    """Print how often copies lead to the same number."""
    for name in draws[0]["found"]:
        same = [d["found"][name] == d["found"]["as drawn"] for d in draws]
        right = [d["found"][name] == d["K"] for d in draws]
        print(f"{name:38}{np.mean(same):8.1%} the same{np.mean(right):8.1%} exact")


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs=2, type=int, default=(20000, 20040))
    parser.add_argument("--methods", nargs="+", default=("lic",), choices=METHODS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--oracle", action="store_true")
    parser.add_argument("--copies", action="store_true")
    parser.add_argument("--large", action="store_true")
    add_save(parser)
    arguments = parser.parse_args()
    seeds = range(*arguments.seeds)
    parallel = Parallel(arguments.jobs)
    if arguments.large:
        rows = [
            row for N in (10**5, 10**6) for s in range(3) for row in run_large(N, s)
        ]
        for row in rows:
            print(row)
        save(arguments.save, large=rows)
    elif arguments.copies:
        draws = parallel(delayed(run_copies)(seed) for seed in seeds)
        report_copies(draws)
        save(arguments.save, draws=draws)
    else:
        methods = arguments.methods
        draws = parallel(
            delayed(run)(seed, methods, arguments.oracle) for seed in seeds
        )
        report(draws, methods)
        save(arguments.save, draws=draws)


if __name__ == "__main__":
    main()
