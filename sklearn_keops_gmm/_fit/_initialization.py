"""Where a fit starts: k-means, k-means++, random, random rows, or the user's arrays.

With the same ``random_state`` each start draws the same random numbers as
scikit-learn and lands on the same parameters, which includes some quirks of its
own: one point per component is divided by a mass a little above one, and the tied
covariance of such a start is that of all the data.

Features that are missing are drawn first: starts see samples without gaps.

Of more than ``init_size`` samples k-means and k-means++ see so many, drawn at random;
nothing is drawn where there are no more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._filling import filled
from sklearn_keops_gmm._fit._labelled_start import labelled_start, moments_of_labels
from sklearn_keops_gmm._fit._m_step import Maximization
from sklearn_keops_gmm._fit._noise_start import (
    TYPICAL_NOISE,
    check_wide_start,
    cleaned,
)
from sklearn_keops_gmm._fit._one_sample_starts import one_sample_each
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._supported import check_init_params
from sklearn_keops_gmm._fit._user_start import UserStart
from sklearn_keops_gmm._model import MixtureParameters, Moments, Prior, Ridge
from sklearn_keops_gmm._model.covariances import (
    MASS_FLOOR,
    above_mass_floor,
)
from sklearn_keops_gmm.backends import MStep, choose_seeds, find_clusters

# Of so many runs of k-means the best is taken where there is noise.
_RUNS_BESIDE_NOISE = 10


def initialize(
    problem: StartData,
    init_params: str,
    user: UserStart,
    ridge: Ridge,
    random_state: RandomState,
    compiled: MStep | None = None,
) -> MixtureParameters:
    """Return the parameters that a fit starts from.

    Parameters
    ----------
    problem : StartData
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}
    user : UserStart
        Takes precedence, array by array.
    ridge : Ridge
        Added to the diagonals of covariances that are found.
    random_state : RandomState
        Left untouched if `user` gives all three arrays.
    compiled : MStep, default=None
        The M-step of the backend, if it has one of its own.

    Returns
    -------
    MixtureParameters
        The weights need not sum to 1, as in scikit-learn.
    """
    covariance, device = problem.covariance, problem.points.device
    weights, means, precisions = (
        None if array is None else torch.tensor(array, dtype=torch.float64).to(device)
        for array in (user.weights, user.means, user.precisions)
    )
    noise_weight = 0.0 if problem.noise is None else TYPICAL_NOISE
    factors: Tensor | None = None
    if weights is None or means is None or precisions is None:
        check_init_params(covariance, init_params)
        if problem.noise is not None and precisions is None:
            check_wide_start(init_params)
        problem, noise_weight = cleaned(filled(problem, random_state), random_state)
        about, moments = _start(problem, init_params, random_state)
        mass = moments.mass + MASS_FLOOR
        samples = max(problem.total_weight, float(len(problem.points)))
        weights = mass / samples if weights is None else weights
        step = Maximization(covariance, Prior(), ridge, compiled)
        found, covariances, factors = step.scattered(moments, about)
        means = found if means is None else means
    if precisions is not None:
        factors = covariance.factors_of_precisions(precisions)
        covariances = covariance.covariances(factors)
    elif factors is None:
        factors = covariance.factors(covariances)
    return MixtureParameters(
        weights, means, covariances, factors, noise_weight=noise_weight
    )


def _start(
    problem: StartData, init_params: str, random_state: RandomState
) -> tuple[Tensor, Moments]:
    """Return means and the moments about them, above the mass floor."""
    labels = problem.component_labels
    if labels is None:
        return STARTS[init_params](problem, random_state)
    return labelled_start(problem, labels, init_params, _random, random_state)


# -- starts: each returns means and the moments about them, above the mass floor ------


def _kmeans(problem: StartData, random_state: RandomState) -> tuple[Tensor, Moments]:
    """Let each sample belong to its cluster."""
    labels = _kmeans_labels(problem, random_state).to(problem.points.device)
    return moments_of_labels(problem, labels)


def _kmeans_labels(problem: StartData, random_state: RandomState) -> Tensor:
    """Cluster as scikit-learn does; an integer weight counts as that many rows."""
    part, _ = problem.drawn(random_state)
    array, origin = part.array(problem.origin), problem.origin
    tol = 1e-4
    weights = None
    if part.sample_weight is not None:
        weights = part.sample_weight.cpu().numpy()
        # KMeans takes its tolerance from variances that ignore the weights.
        means = np.average(array, axis=0, weights=weights)
        squares = np.average((array - means) ** 2, axis=0, weights=weights)
        variance = np.mean(np.var(array, axis=0))
        tol *= np.mean(squares) / variance if variance > 0 else 1.0
    run = partial(
        find_clusters, array, problem.n_components, weights, tol, random_state
    )
    if problem.noise is None:
        found = run()
    else:
        # EM seldom leaves a poor optimum where noise takes what components lack.
        runs = (run() for _ in range(_RUNS_BESIDE_NOISE))
        found = min(runs, key=lambda one: _inertia(array, weights, one.labels_))
    whole = part is problem
    labels = found.labels_ if whole else found.predict(problem.array(origin))
    return torch.from_numpy(labels.astype(np.int64))


def _inertia(
    points: np.ndarray, weights: np.ndarray | None, labels: np.ndarray
) -> float:
    """Return the squares of distances to the means of clusters, less a constant."""
    mass = np.bincount(labels, weights)
    own = points if weights is None else points * weights[:, None]
    sums = np.stack([np.bincount(labels, column) for column in own.T], axis=1)
    return -float((sums**2).sum(axis=1) @ (1.0 / np.where(mass > 0, mass, np.inf)))


def _random(problem: StartData, random_state: RandomState) -> tuple[Tensor, Moments]:
    """Let each sample belong to all components, at random.

    A row with an integer weight draws once for each of the rows that it stands for.
    """
    n_components, n_features = problem.n_components, len(problem.centre)
    mass = problem.centre.new_zeros(n_components)
    first = problem.centre.new_zeros(n_components, n_features)
    second = torch.zeros_like(problem.covariance.outer(first))
    for rows, weights in problem.copies():
        points = problem.centred(rows)
        drawn = random_state.uniform(size=(len(points), n_components))
        responsibilities = torch.from_numpy(drawn).to(points.device)
        responsibilities /= responsibilities.sum(1, keepdim=True)
        responsibilities *= weights[:, None]
        outer = problem.covariance.outer(points)
        mass += responsibilities.sum(0)
        first += responsibilities.mT @ points
        sums = responsibilities.mT @ outer.reshape(len(points), -1)
        second += sums.reshape(second.shape)
    about = problem.centre.expand(n_components, -1)
    moments = Moments(mass, first, problem.covariance.pool(second), 0.0)
    return about, above_mass_floor(moments, problem.mean_weight)


def _random_from_data(
    problem: StartData, random_state: RandomState
) -> tuple[Tensor, Moments]:
    """Let each component have one sample, chosen at random.

    Rows with integer weights are chosen as if each stood there that many times.
    """
    n_components = problem.n_components
    if problem.counted:
        chosen = random_state.choice(
            int(problem.total_weight), size=n_components, replace=False
        )
        return one_sample_each(problem, problem.rows_of_copies(chosen))
    weights = problem.weights(slice(None)).cpu().numpy()
    chosen = random_state.choice(
        len(weights), size=n_components, replace=False, p=weights / weights.sum()
    )
    return one_sample_each(problem, chosen)


def _kmeans_plusplus(
    problem: StartData, random_state: RandomState
) -> tuple[Tensor, Moments]:
    """Let each component have one sample, far from each other."""
    part, rows = problem.drawn(random_state)
    weights = part.sample_weight
    chosen = choose_seeds(
        part.array(problem.origin),
        problem.n_components,
        None if weights is None else weights.cpu().numpy(),
        random_state,
    )
    return one_sample_each(problem, np.arange(len(problem.points))[rows][chosen])


STARTS: dict[str, Callable[[StartData, RandomState], tuple[Tensor, Moments]]] = {
    "kmeans": _kmeans,
    "random": _random,
    "random_from_data": _random_from_data,
    "k-means++": _kmeans_plusplus,
}
