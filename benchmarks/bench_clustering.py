"""Agreement with reference labelings on the suite gagolews/clustering-data-v1.

    python benchmarks/bench_clustering.py --data FOLDER --save clustering.json
    python benchmarks/bench_clustering.py --data FOLDER --batteries fcps graves --sets
    python benchmarks/bench_clustering.py --load clustering.json --sets

FOLDER is a checkout of https://github.com/gagolews/clustering-data-v1, or a part of it.
Its data are for research: none of them is in this package, nor may they be. Features
are centred, and scaled by one number for all. A score is the adjusted Rand index to the
reference labeling that fits best, without the samples that it calls noise (label 0).
Each method is given the number of clusters of a labeling; `free` methods find it. What
was tuned, was on fcps, graves and other: the other batteries judge.
"""

import argparse
import json
import time
import warnings
from copy import copy
from pathlib import Path

import numpy as np
from common import add_save, save
from sklearn.cluster import (
    HDBSCAN,
    AgglomerativeClustering,
    KMeans,
    SpectralClustering,
)
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import MixtureClustering

TUNED_ON = ("fcps", "graves", "other")
BATTERIES = (*TUNED_ON, "sipu", "uci", "wut")
_OURS = ("confusion", "misclassification", "entropy", "saddle")


def ours(linkage):
    """Return a function of data, the number of clusters, and a seed: labels."""

    def fit_predict(X, k, seed):
        model = MixtureClustering(k, linkage=linkage, random_state=seed)
        return model.fit_predict(X)

    return fit_predict


class BesideNoise:
    """Clusters beside uniform noise, where one fit serves all numbers of them.

    So only the first answer about a set takes the seconds of a fit.
    """

    def __init__(self):
        self._known = (None, None, None)

    def __call__(self, X, k, seed):
        """Return the fitted estimator, with k clusters or as many as it finds."""
        if self._known[0] is not X or self._known[1] != seed:
            found = MixtureClustering(noise="uniform", random_state=seed).fit(X)
            self._known = (X, seed, found)
        clustering = copy(self._known[2])
        if k is None:
            return clustering
        if k > len(clustering.component_labels_):
            return MixtureClustering(k, noise="uniform", random_state=seed).fit(X)
        clustering.component_labels_ = clustering.cut_tree(k)
        clustering.n_clusters_ = k
        return clustering


beside_noise = BesideNoise()


def with_noise(X, k, seed):
    """Return labels beside uniform noise; what is noise has its most likely cluster."""
    return beside_noise(X, k, seed).predict_proba(X)[:, :-1].argmax(axis=1)


def or_noise(X, k, seed):
    """Return labels beside uniform noise, -1 for what is that."""
    return beside_noise(X, k, seed).predict(X)


def genie(X, k, seed):
    """Return labels of Genie, with its default threshold."""
    from genieclust import Genie

    return Genie(n_clusters=k).fit_predict(X)


def spectral(X, k, seed):
    """Return labels by the graph of nearest neighbours."""
    model = SpectralClustering(k, affinity="nearest_neighbors", random_state=seed)
    return model.fit_predict(X)


KNOWN = {
    **{name: ours(name) for name in _OURS},
    "with noise": with_noise,
    "or noise": or_noise,
    "genie": genie,
    "kmeans": lambda X, k, seed: KMeans(k, n_init=10, random_state=seed).fit_predict(X),
    "gaussian": lambda X, k, seed: GaussianMixture(
        k, n_init=10, random_state=seed
    ).fit_predict(X),
    "ward": lambda X, k, seed: AgglomerativeClustering(k).fit_predict(X),
    "spectral": spectral,
}
FREE = {
    **{name: ours(name) for name in _OURS},
    "with noise": with_noise,
    "or noise": or_noise,
    "hdbscan": lambda X, k, seed: HDBSCAN(copy=True).fit_predict(X),
}
MODES = {"known": KNOWN, "free": FREE}
# Those whose answer no seed changes are run once.
SEEDLESS = (*_OURS, "with noise", "or noise", "genie", "ward", "hdbscan")


def sets_of(folder, batteries, most):
    """Yield names, features, and reference labelings of sets that are not too large."""
    for battery in batteries:
        for path in sorted((folder / battery).glob("*.data.gz")):
            name = path.name.removesuffix(".data.gz")
            X = np.loadtxt(path, ndmin=2)
            if len(X) > most:
                continue
            found = sorted((folder / battery).glob(f"{name}.labels*.gz"))
            X = X - X.mean(axis=0)
            yield battery, name, X / X.std(), [np.loadtxt(p, dtype=int) for p in found]


def agreement(reference, labels):
    """Return the adjusted Rand index over the samples that are no noise."""
    kept = reference > 0
    return adjusted_rand_score(reference[kept], labels[kept])


def measured(method, X, references, seed, *, known):
    """Return the best agreement, the number of clusters, and the seconds of a fit."""
    counts = {len(np.unique(r[r > 0])) for r in references} if known else {None}
    found, best = {}, (-1.0, 0)
    start = time.perf_counter()
    for k in counts:
        found[k] = np.asarray(method(X, k, seed))
    seconds = (time.perf_counter() - start) / len(counts)
    for reference in references:
        labels = found[len(np.unique(reference[reference > 0])) if known else None]
        n_found = len(np.unique(labels[labels >= 0]))
        best = max(best, (agreement(reference, labels), n_found))
    return *best, seconds


def compare(args):
    """Return a row for each set, method and seed."""
    rows = []
    for battery, name, X, references in sets_of(args.data, args.batteries, args.most):
        for mode in args.modes:
            for method, function in MODES[mode].items():
                if method not in args.methods:
                    continue
                seeds = 1 if method in SEEDLESS else args.seeds
                for seed in range(args.first_seed, args.first_seed + seeds):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found = measured(
                            function, X, references, seed, known=mode == "known"
                        )
                    rows.append((battery, name, mode, method, seed, *found))
        print(f"{battery}/{name}: {len(X)} x {X.shape[1]}", flush=True)
    names = ("battery", "set", "mode", "method", "seed", "ari", "n_clusters", "seconds")
    return [dict(zip(names, row, strict=True)) for row in rows]


def mean_of(rows, **wanted):
    """Return the mean over seeds and then over sets, and the range of seeds' means."""
    chosen = [row for row in rows if all(row[n] in v for n, v in wanted.items())]
    if not chosen:
        return None
    by_seed = {}
    for row in chosen:
        by_seed.setdefault(row["seed"], []).append(row["ari"])
    means = [float(np.mean(scores)) for scores in by_seed.values()]
    return float(np.mean([row["ari"] for row in chosen])), min(means), max(means)


def table(rows):
    """Print the mean scores: of what was tuned on, and of what judges."""
    held_out = tuple(b for b in BATTERIES if b not in TUNED_ON)
    print(f"\n{'':28}{'tuned on':>22}{'judges':>22}{'seconds a set':>16}")
    for mode in ("known", "free"):
        for method in dict.fromkeys(row["method"] for row in rows):
            of = {"mode": (mode,), "method": (method,)}
            cells = [mean_of(rows, battery=b, **of) for b in (TUNED_ON, held_out)]
            if not any(cells):
                continue
            texts = ["{:.3f} ({:.3f}-{:.3f})".format(*c) if c else "" for c in cells]
            spent = [
                r["seconds"] for r in rows if (r["mode"], r["method"]) == (mode, method)
            ]
            print(
                f"{mode:8}{method:20}{texts[0]:>22}{texts[1]:>22}{np.mean(spent):16.2f}"
            )


def by_set(rows):
    """Print the mean score of each method on each set."""
    columns = list(dict.fromkeys((row["mode"], row["method"]) for row in rows))
    print("\n" + " ".join(f"{mode}:{method}" for mode, method in columns))
    for battery, name in dict.fromkeys((row["battery"], row["set"]) for row in rows):
        of = {"battery": (battery,), "set": (name,)}
        means = [mean_of(rows, mode=(m,), method=(n,), **of) for m, n in columns]
        scores = " ".join(f"{mean[0]:5.2f}" if mean else "    -" for mean in means)
        print(f"{battery + '/' + name:28}{scores}")


def main():
    """Measure or load, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a checkout of the suite")
    parser.add_argument("--load", type=Path, nargs="+", help="what was saved before")
    add_save(parser)
    parser.add_argument("--batteries", nargs="+", default=BATTERIES)
    parser.add_argument("--methods", nargs="+", default=[*KNOWN, *FREE])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=[*MODES])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=10_000, help="samples in a set")
    parser.add_argument("--sets", action="store_true", help="print each set, too")
    args = parser.parse_args()
    if (args.data is None) == (args.load is None):
        parser.error("give --data or --load")
    if args.load:
        saved = [json.loads(path.read_text())["rows"] for path in args.load]
        rows = [
            row
            for part in saved
            for row in part
            if row["mode"] in args.modes and row["method"] in args.methods
        ]
    else:
        rows = compare(args)
    save(args.save, rows=rows)
    table(rows)
    if args.sets:
        by_set(rows)


if __name__ == "__main__":
    main()
