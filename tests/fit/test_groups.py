"""Groups of neighbouring samples that might be components."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.utils import check_random_state

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import build_problem, starting_point
from sklearn_keops_gmm._model import add_component, select_components
from sklearn_keops_gmm.solvers import Search, SolverSettings
from tests.fit.test_local import problem

own_covariances = pytest.mark.parametrize("structure", ["full", "diag", "spherical"])


def one_of_all(rng, structure, weighted):
    """An objective with groups, and a state with all clusters as one component."""
    objective, whole = problem(rng, "native", structure, weighted, sparsity=1.0)
    state = objective.evaluate(objective.edits.uncharged().single(whole))
    labels = torch.zeros(objective.reductions.n_samples, dtype=torch.int64)
    densities = objective.reductions.log_density(objective.components(state.parameters))
    found = objective.groups.find(state.parameters, labels, densities, 1e-6)
    return objective, state, found


@own_covariances
@pytest.mark.parametrize("weighted", [False, True])
def test_gains_are_no_more_than_what_is_gained(structure, weighted, rng):
    """What a group adds to the density of samples outside it is left out."""
    objective, state, found = one_of_all(rng, structure, weighted)
    found = [some for some in found if len(some.gains)]
    largest = max(found, key=lambda some: float(some.gains.max()))
    for j, gain in enumerate(largest.gains):
        one = select_components(
            objective.covariance, largest.parameters, torch.tensor([j])
        )
        more = add_component(objective.covariance, state.parameters, one)
        gained = objective.score(more) - state.log_likelihood
        assert 0 < gain <= gained + 1e-12


@own_covariances
def test_they_are_the_same_again(structure, rng):
    objective, state, found = one_of_all(rng, structure, False)
    labels = torch.zeros(objective.reductions.n_samples, dtype=torch.int64)
    densities = objective.reductions.log_density(objective.components(state.parameters))
    again = objective.groups.find(state.parameters, labels, densities, 1e-6)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one.gains, other.gains)


@own_covariances
def test_additions_differ(structure, rng):
    """Many groups are of one cluster, and one of each is enough."""
    objective, whole = problem(rng, "native", structure, False, sparsity=1.0)
    state = objective.evaluate(objective.edits.uncharged().single(whole))
    found = objective.edits.additions(state, (whole.parameters,) * 2, 20)
    assert len(found) >= whole.n_components
    means = torch.stack([more.means[-1] for more in found])
    covariances = torch.stack([more.covariances[-1] for more in found])
    pairs = torch.combinations(torch.arange(len(found)))
    halves = torch.full((len(found),), 0.5, dtype=torch.float64)
    losses = objective.covariance.merge_losses(halves, means, covariances, pairs)
    assert losses.min() >= 0.1


def of_one_component(X, n_components, sparsity):
    """The search of a sparse fit, and the state in which all samples are of one."""
    mixture = KeOpsGaussianMixture(n_components, sparsity=sparsity)
    task = build_problem(mixture, as_source(X, None).read(mixture, n_components))
    whole = task.objective.evaluate(
        starting_point(mixture, task, check_random_state(0))
    )
    state = task.objective.evaluate(task.objective.edits.uncharged().single(whole))
    settings = SolverSettings(1e-3, 500, 0.1, moves=True)
    return Search(task.objective, settings, (state.parameters,)), state


def test_singular_groups_are_left_out(rng):
    """Others of their size are found."""
    X = np.concatenate((rng.normal(size=(300, 2)), np.full((100, 2), 32.0)))
    search, state = of_one_component(X, 2, 1.0)
    objective, whole = search.objective, state.parameters
    labels = torch.zeros(len(X), dtype=torch.int64)
    densities = objective.reductions.log_density(objective.components(whole))
    found = list(objective.groups.find(whole, labels, densities, 0.0))
    assert sum(len(some.gains) for some in found) > 100
    for some in found:
        assert (torch.linalg.det(some.parameters.covariances) > 0).all()


def test_a_cluster_whose_weight_shrinks_is_added(rng):
    """With the weight of its samples, five times as much, it costs more than it gains.

    Smaller groups in it cost less as they are, and are extinguished.
    """
    wide, small = rng.normal(0, 6, (3800, 2)), rng.normal((-20, 8), 1, (200, 2))
    search, state = of_one_component(np.concatenate([wide, small]), 40, 40.0)
    better = search.try_additions(state)
    assert better[-1].cost < state.cost - 0.02
    found = better[-1].parameters
    lightest = found.weights.argmin()
    assert found.weights[lightest] < 0.02
    assert_allclose(found.means[lightest], [-20, 8], atol=0.5)


def test_a_small_cluster_within_a_wide_one_is_found(rng):
    """It has one sample in a hundred, where EM's component covers many times more."""
    wide, small = rng.normal(size=(2000, 3)), rng.normal(1.0, 0.02, (20, 3))
    X = np.concatenate([wide, small])
    plain, moved = (
        KeOpsGaussianMixture(5, sparsity=2.0, moves=moves, random_state=0).fit(X)
        for moves in (False, True)
    )
    distances = [np.abs(model.means_ - 1.0).max(1).min() for model in (plain, moved)]
    assert distances[0] > 0.1
    assert distances[1] < 0.02
    assert moved.cost_ < plain.cost_


def test_chance_is_not_followed(rng):
    """Of so many groups one always gains a few nats."""
    mixture = KeOpsGaussianMixture(1, sparsity=1.0)
    data = as_source(rng.normal(size=(1000, 2)), None).read(mixture, 1)
    task = build_problem(mixture, data)
    start = starting_point(mixture, task, check_random_state(0))
    state = task.objective.evaluate(start)
    assert not task.objective.edits.additions(state, (), 20)
    (own,) = task.objective.edits.additions(state, (state.parameters,), 20)
    assert torch.equal(own.means[1], state.parameters.means[0])
