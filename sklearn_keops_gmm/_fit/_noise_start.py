"""Which samples starts see where some may be noise: those in places that are dense.

The distance to the k-th nearest neighbour tells the density about a sample, as in the
cleaning of Byers and Raftery, "Nearest-neighbor clutter removal for estimating features
in spatial point processes", Journal of the American Statistical Association 93 (1998).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import UniformNoise
from sklearn_keops_gmm.backends import openmp_of_others

# The weight of noise at a start that a user gives.
TYPICAL_NOISE = 0.1
# So many neighbours tell a density; places so many times as dense as noise are clean.
_NEIGHBOURS, _DENSER = 12, 4.0
# So many samples are looked at, or so many for each component where that is more.
_SAMPLE, _PER_COMPONENT = 5000, 100
# At least this share of them is clean, and noise starts with a weight above this.
_LEAST_CLEAN, _LEAST_NOISE = 0.25, 0.01
_MOST_ROUNDS = 50
# Starts at single samples.
_NARROW = ("k-means++", "random_from_data")


def check_wide_start(init_params: str) -> None:
    """Raise ValueError if components start so narrow that all would be noise."""
    if init_params in _NARROW:
        raise ValueError(
            f"init_params={init_params!r} starts each component at a single sample, "
            "and with noise='uniform' all others would be noise. Use "
            "init_params='kmeans', 'random' or 'merge', or give precisions_init."
        )


def cleaned(problem: StartData, random_state: RandomState) -> tuple[StartData, float]:
    """Return the problem of samples that are clean, and the weight of noise.

    It is this one, and nothing is drawn, if there is no noise. Samples that are known
    to be of a component are clean.
    """
    if problem.noise is None:
        return problem, 0.0
    labels = problem.component_labels
    if labels is None:
        return _cleaned(problem, problem.noise, random_state)
    known = labels >= 0
    if bool(known.all()):
        return problem, _LEAST_NOISE
    seen = problem.unlabelled(known)
    others, noise_weight = _cleaned(
        problem.unlabelled(~known), problem.noise, random_state
    )
    weights = [part.weights(slice(None)) for part in (seen, others)]
    joined = replace(
        problem,
        points=torch.cat((seen.points, others.points)),
        sample_weight=torch.cat(weights).to(problem.points),
        component_labels=torch.cat(
            (labels[known], labels.new_full((len(others.points),), -1))
        ),
    )
    return joined, noise_weight


def _cleaned(
    problem: StartData, noise: UniformNoise, random_state: RandomState
) -> tuple[StartData, float]:
    """Return the problem of samples that are denser than noise, and its weight."""
    size = max(_SAMPLE, _PER_COMPONENT * problem.n_components)
    some = replace(problem, init_size=min(size, problem.init_size))
    some, _ = some.drawn(random_state)
    weights = some.weights(slice(None)).cpu().numpy()
    densities = _densities(some.points, weights / weights.sum(), noise)
    clean, noise_weight = _above_noise(densities, weights / weights.sum())
    rows = torch.from_numpy(np.flatnonzero(clean)).to(some.points.device)
    if len(rows) < problem.n_components:
        return problem, TYPICAL_NOISE
    kept = None if some.sample_weight is None else some.sample_weight[rows]
    found = replace(problem, points=some.points[rows], sample_weight=kept)
    return found, max(noise_weight, _LEAST_NOISE)


def _densities(points: Tensor, weights: np.ndarray, noise: UniformNoise) -> np.ndarray:
    """Return about how dense samples are where each lies; noise alone would be 1."""
    counting = noise.counting
    low, high = noise.low[counting], noise.high[counting]
    n_samples, n_features = len(points), len(low)
    k = min(_NEIGHBOURS, n_samples - 1)
    if k < 1 or n_features == 0:
        return np.full(n_samples, np.inf)
    own = points.cpu().double()[:, counting]
    unit = ((own - low) / (high - low)).numpy()
    with openmp_of_others():
        distances, neighbours = NearestNeighbors(n_neighbors=k).fit(unit).kneighbors()
    half = 0.5 * n_features
    ball = half * math.log(math.pi) - math.lgamma(half + 1.0)
    with np.errstate(divide="ignore"):
        volumes = ball + n_features * np.log(distances[:, -1])
        densities: np.ndarray = np.log(weights[neighbours].sum(axis=1)) - volumes
        return np.exp(densities.clip(max=700.0))


def _above_noise(
    densities: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """Tell, (n,) bool, which samples are denser than noise, and the weight of that.

    What is not is noise, which is as dense as it has weight.
    """
    share = 1.0
    for _ in range(_MOST_ROUNDS):
        clean = densities > _DENSER * share
        before, share = share, float(weights[~clean].sum())
        if share >= before:
            break
    if weights[clean].sum() < _LEAST_CLEAN:
        clean = densities >= np.quantile(densities, 1.0 - _LEAST_CLEAN)
        share = float(weights[~clean].sum())
    return clean, share
