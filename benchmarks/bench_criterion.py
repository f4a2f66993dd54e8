"""What the criterion for the number of components takes, and where the path may end.

    OMP_NUM_THREADS=1 python benchmarks/bench_criterion.py --seeds 5000 5120
    OMP_NUM_THREADS=1 python benchmarks/bench_criterion.py --seeds 6000 6020 \
        --times 50 --criteria lic --variants "whole path"

Of the draws of `bench_components.py`, how often the right number of components is
found, how often another one than by default, and the seconds of the processor, with

default
    the likelihood at the parameters found, and all free parameters.
shrunk
    of a component's covariance the part r / (r + k) of its parameters, where r samples
    of its own stand beside k that pool covariances.
prior
    the likelihood with the prior's term.
whole path
    all mixtures from 30 components to one, where by default the path ends as soon as
    none with fewer components can be better.

Seeds are those for tuning, below 10,000. Figures that are reported of the package
itself are of others.
"""

import argparse
import warnings
from contextlib import contextmanager
from dataclasses import replace
from time import process_time
from unittest import mock

import numpy as np
import torch
from common import add_save, save
from joblib import Parallel, delayed
from mixtures import draw
from threadpoolctl import threadpool_limits

from sklearn_keops_gmm import KeOpsGaussianMixtureCV
from sklearn_keops_gmm._fit import Path, PathSearch

MOST = 30
BANDS = ("well", "mid", "few", "one")
CRITERIA = ("lic", "bic")


def shrunk(path, member):
    """Return the evidence with fewer parameters, as pooling leaves them less free."""
    evidence, moments = member.evidence, member.state.moments
    masses = moments.mass * path.sample_size / path.task.objective.total_weight
    n_means = member.parameters.means.shape[1]
    share = float((masses / (masses + path.task.pooling)).mean())
    n_own = n_means + share * (evidence.n_own - n_means)
    return replace(evidence, n_own=n_own)


def with_prior(path, member):
    """Return the evidence with the likelihood times the prior."""
    evidence = member.evidence
    penalty = member.state.penalty * evidence.n_samples
    return replace(evidence, log_likelihood=evidence.log_likelihood - penalty)


@contextmanager
def taking(evidence_of):
    """Let criteria take other evidence."""
    make = Path.member

    def member_of(path, state):
        member = make(path, state)
        return replace(member, evidence=evidence_of(path, member))

    with mock.patch.object(Path, "member", member_of):
        yield


@contextmanager
def whole_path():
    """Let no path end before it has come to one component."""

    def all_members(search, start, tol):
        return search._path.members(start, tol)

    with mock.patch.object(PathSearch, "_useful_members", all_members):
        yield


VARIANTS = {
    "default": lambda: taking(lambda path, member: member.evidence),
    "shrunk": lambda: taking(shrunk),
    "prior": lambda: taking(with_prior),
    "whole path": whole_path,
}


def run(seed, criteria, variants, times):
    """Return a design, and what each variant of each criterion finds in its draw."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = {}
    with threadpool_limits(1):
        design, mixture, X, new = draw(seed)
        if times > 1:
            X, _ = mixture.sample(np.random.default_rng([seed, times]), times * len(X))
            design["N"] = len(X)
        for criterion in criteria:
            for name in ("default", *variants):
                model = KeOpsGaussianMixtureCV(
                    MOST, criterion=criterion, random_state=0
                )
                begin = process_time()
                with VARIANTS[name]():
                    model.fit(X)
                found[f"{criterion}, {name}"] = {
                    "found": model.n_components_,
                    "held_out": float(model.score(new)),
                    "compared": len(model.results_["rank"]),
                    "seconds": process_time() - begin,
                }
    true = mixture.score(new)
    return design | {"seed": seed, "true_held_out": true, "variants": found}


def report(draws):
    """Print a table for each band."""
    print(
        f"{'band':6}{'draws':>6}  {'variant':18}{'exact':>8}{'changed':>9}"
        f"{'loss':>8}{'compared':>10}{'seconds':>9}"
    )
    for band in (*BANDS, "all"):
        rows = [d for d in draws if band in (d["band"], "all")]
        for name in draws[0]["variants"] if rows else ():
            column = [d["variants"][name] for d in rows]
            usual = name.partition(",")[0] + ", default"
            others = [d["variants"][usual]["found"] for d in rows]
            K = np.array([d["K"] for d in rows])
            found = np.array([c["found"] for c in column])
            loss = [
                d["true_held_out"] - c["held_out"]
                for d, c in zip(rows, column, strict=True)
            ]
            print(
                f"{band:6}{len(rows):6}  {name:18}{np.mean(found == K):8.1%}"
                f"{np.sum(found != others):9}{np.mean(loss):8.3f}"
                f"{np.mean([c['compared'] for c in column]):10.1f}"
                f"{np.mean([c['seconds'] for c in column]):9.3f}"
            )


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs=2, type=int, default=(5000, 5020))
    parser.add_argument("--criteria", nargs="+", default=CRITERIA, choices=CRITERIA)
    others = [name for name in VARIANTS if name != "default"]
    parser.add_argument("--variants", nargs="+", default=others, choices=others)
    parser.add_argument(
        "--times", type=int, default=1, help="so many times as many samples"
    )
    parser.add_argument("--jobs", type=int, default=1)
    add_save(parser)
    arguments = parser.parse_args()
    parallel = Parallel(arguments.jobs, return_as="generator")
    draws = []
    how = arguments.criteria, arguments.variants, arguments.times
    for found in parallel(delayed(run)(seed, *how) for seed in range(*arguments.seeds)):
        draws.append(found)
        save(arguments.save, draws=draws)
    report(draws)


if __name__ == "__main__":
    main()
