"""A thorough start by mergers: never above the plain one, as often as can be below."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import _merged_start, _recombined_start
from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._recombined_start import recombined
from sklearn_keops_gmm._fit._run import build_problem
from sklearn_keops_gmm._fit._user_start import UserStart
from sklearn_keops_gmm._model import join_mixtures
from tests.common import blobs
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


GRID = np.stack(np.meshgrid(range(4), range(4)), -1).reshape(-1, 2) * 6.0


def task_of(X, n_components, **given):
    """What a fit of some samples solves, and where k-means starts it."""
    mixture = KeOpsGaussianMixture(n_components, **given)
    task = build_problem(mixture, as_source(X, None).read(mixture, n_components))
    nothing = UserStart(None, None, None)
    ridge = task.objective.ridge
    start = initialize(task.problem, "kmeans", nothing, ridge, RandomState(0))
    return task, start.normalised()


def grid(seed):
    """Sixteen clusters of which single starts by k-means miss some."""
    rng = np.random.default_rng(seed)
    return np.repeat(GRID, 40, axis=0) + rng.normal(size=(640, 2))


@every_structure
def test_joined_mixtures_have_the_mean_of_their_densities(structure):
    X = blobs()
    task, first = task_of(X, 4, covariance_type=structure)
    last = replace(first, means=first.means + 1.0, weights=first.weights.flip(0))
    both = join_mixtures(task.objective.covariance, first, last)
    one, other, mean = (
        task.objective.reductions.log_density(task.objective.components(mixture))
        for mixture in (first, last, both)
    )
    expected = torch.logaddexp(one, other) - np.log(2)
    assert_allclose(mean.numpy(), expected.numpy(), rtol=1e-12)


@every_structure
@pytest.mark.parametrize("pooling", [0.0, "auto"])
def test_it_never_costs_more_than_its_start(structure, pooling):
    given = {"covariance_type": structure, "covariance_pooling": pooling}
    task, start = task_of(blobs(), 5, **given)
    found = recombined(task.problem, task.objective, start, RandomState(1))
    assert found.means.shape == start.means.shape
    assert found.targets is None
    assert float(found.weights.sum()) == pytest.approx(1)
    before, after = (
        task.objective.cost(task.objective.hold(one) or one) for one in (start, found)
    )
    assert after < before + 1e-9 * abs(before)


def test_a_worse_mixture_is_not_taken(monkeypatch):
    """Where each crossing leads above the best, that is what is returned."""
    task, start = task_of(grid(0), 16)
    best = _recombined_start._refined(task.objective, start)
    worse = replace(best, log_likelihood=best.log_likelihood - 1e-6)
    asked = []
    monkeypatch.setattr(
        _recombined_start, "_crossed", lambda *given: asked.append(given) or worse
    )
    found = recombined(task.problem, task.objective, start, RandomState(0))
    assert torch.equal(found.means, best.parameters.means)
    assert len(asked) == _recombined_start._PATIENCE


def test_fewer_singular_components_are_better_at_any_cost():
    """Few samples that are all but equal are worth any number of nats."""
    task, start = task_of(grid(0), 16)
    sound = _recombined_start._refined(task.objective, start)
    masses = sound.moments.mass.clone()
    masses[0] = 2.0
    moments = replace(sound.moments, mass=masses)
    gain = sound.log_likelihood + 1.0
    spike = replace(sound, moments=moments, log_likelihood=gain)
    assert _recombined_start._is_better(task.objective, sound, spike)
    assert not _recombined_start._is_better(task.objective, spike, sound)


@pytest.mark.parametrize(
    ("n_samples", "n_components", "merges"),
    [(400, 16, False), (40, 4, True), (400, 17, True)],
)
def test_few_components_begin_by_kmeans(monkeypatch, n_samples, n_components, merges):
    """What mergers find of them is as good after the first crossing."""
    X = np.random.default_rng(0).normal(size=(n_samples, 2))
    task, start = task_of(X, n_components)
    monkeypatch.setattr(_merged_start, "recombined", lambda *given: given[2])
    found = _merged_start.merged_start(task, RandomState(0), thorough=True)
    assert torch.equal(found.means, start.means) != merges


@pytest.mark.parametrize("seed", range(4))
def test_no_crossing_gains_by_a_spike(seed):
    """Rows that are all but equal would be worth many nats."""
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(c, 1, (40, 2)) for c in (-5, 0, 5)])
    X = np.concatenate([X, X[:2] + 1e-7])
    model = KeOpsGaussianMixture(
        5, init_params="merge", moves=True, random_state=seed, reg_covar=1e-12
    ).fit(X)
    assert (model.weights_ * len(X) >= 3).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_all_clusters_are_found(seed):
    """The optimum that EM reaches from the true mixture, or a better one."""
    X = grid(seed)
    start = {
        "weights_init": np.full(16, 1 / 16),
        "means_init": GRID,
        "precisions_init": np.tile(np.eye(2), (16, 1, 1)),
    }
    truth = KeOpsGaussianMixture(16, tol=1e-8, max_iter=500, **start).fit(X)
    model = KeOpsGaussianMixture(
        16, init_params="merge", moves=True, tol=1e-8, max_iter=500, random_state=seed
    ).fit(X)
    assert model.score(X) > truth.score(X) - 1e-6


@pytest.mark.slow
def test_it_finds_better_optima_of_digits():
    """Above the best of ten starts, and of one way down."""
    X = PCA(16, random_state=0).fit_transform(load_digits().data)
    given = {"tol": 1e-6, "max_iter": 1000}
    ten, one_way, found = (
        np.array(
            [
                KeOpsGaussianMixture(10, random_state=seed, **given, **more)
                .fit(X)
                .score(X)
                for seed in range(20, 23)
            ]
        )
        for more in (
            {"n_init": 10},
            {"init_params": "merge"},
            {"init_params": "merge", "moves": True},
        )
    )
    assert found.mean() > ten.mean() + 0.01
    assert found.mean() > one_way.mean() + 0.02


@pytest.mark.slow
def test_chunks():
    X = grid(0)
    X = X[np.random.default_rng(0).permutation(len(X))]
    given = {"init_params": "merge", "moves": True, "random_state": 0, "tol": 1e-6}
    whole = KeOpsGaussianMixture(16, **given).fit(X)
    model = KeOpsGaussianMixture(16, **given).fit(np.array_split(X, 4))
    assert model.score(X) == pytest.approx(whole.score(X), abs=1e-4)


@pytest.mark.slow
def test_dask():
    array = pytest.importorskip("dask.array")
    X = grid(0)
    X = X[np.random.default_rng(0).permutation(len(X))]
    given = {"init_params": "merge", "moves": True, "random_state": 0, "tol": 1e-6}
    whole = KeOpsGaussianMixture(16, **given).fit(X)
    model = KeOpsGaussianMixture(16, **given).fit(array.from_array(X, chunks=(300, 2)))
    assert model.score(X) == pytest.approx(whole.score(X), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [False, True])
def test_noise_and_missing_values(gaps):
    """It ends where EM does from the true means."""
    rng = np.random.default_rng(1)
    means = np.array([[0.0, 0.0], [7.0, 0.0], [0.0, 7.0], [7.0, 7.0], [3.5, 3.5]])
    X = np.repeat(means, 100, axis=0) + 0.7 * rng.normal(size=(500, 2))
    given = {"noise": "uniform", "tol": 1e-8, "max_iter": 500, "random_state": 0}
    X = np.concatenate((X, rng.uniform(-8, 15, (100, 2))))
    if gaps:
        X[rng.random(X.shape) < 0.05] = np.nan
    truth = KeOpsGaussianMixture(5, means_init=means, **given).fit(X)
    model = KeOpsGaussianMixture(5, init_params="merge", moves=True, **given).fit(X)
    assert model.noise_weight_ == pytest.approx(truth.noise_weight_, abs=1e-3)
    assert model.score(X) > truth.score(X) - 1e-6
