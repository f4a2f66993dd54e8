"""Other ways to few components, and components that are added again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._model import select_components
from sklearn_keops_gmm.solvers import Search, SolverSettings
from tests.fit.test_local import problem

own_covariances = pytest.mark.parametrize("structure", ["full", "diag", "spherical"])


def spiral(seed):
    """The spiral of KeOps' tutorial with a noise of one's own."""
    t = np.linspace(0, 2 * np.pi, 10_000)
    curve = (0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t))
    noise = np.random.default_rng(seed).normal(size=(len(t), 2))
    return np.stack(curve, axis=1) + 0.02 * noise


@pytest.mark.slow
def test_a_start_that_loses_a_component_finds_it_again():
    """From the second, EM and moves alone end .037 above."""
    X = spiral(100)
    costs = []
    for seed in (100, 101):
        start = KeOpsGaussianMixture(30, max_iter=0, random_state=seed).fit(X)
        mixture = KeOpsGaussianMixture(
            30,
            sparsity=20.0,
            max_iter=500,
            weights_init=start.weights_ / start.weights_.sum(),
            means_init=start.means_,
            precisions_init=start.precisions_,
        )
        costs.append(mixture.fit(X).cost_)
    assert costs[1] == pytest.approx(costs[0], abs=1e-3)


@pytest.mark.slow
def test_an_addition_makes_others_superfluous():
    """None lowers the cost by itself, and without reductions eight are left."""
    rng = np.random.default_rng(2)
    centres, widths = 6.0 * rng.normal(size=(20, 2)), rng.uniform(1.0, 1.0, size=20)
    labels = np.repeat(np.arange(20), 200)
    X = centres[labels] + widths[labels, None] * rng.normal(size=(4000, 2))
    found = KeOpsGaussianMixture(40, sparsity=10.0, max_iter=500).fit(X)
    assert found.n_components_ == 7
    assert found.cost_ == pytest.approx(5.9987, abs=1e-3)


def without_one(rng, structure="full", weighted=False):
    """An objective, a state without one of its clusters, and the whole mixture."""
    objective, whole = problem(rng, "native", structure, weighted, sparsity=1.0)
    dropped = torch.arange(whole.n_components) == 3
    state = objective.evaluate(objective.without(whole.parameters, dropped))
    return objective, state, whole.parameters


@own_covariances
@pytest.mark.parametrize("weighted", [False, True])
def test_additions_are_ranked_by_what_they_cost(structure, weighted, rng):
    objective, state, whole = without_one(rng, structure, weighted)
    pool = [
        select_components(objective.covariance, whole, torch.tensor([j]))
        for j in range(len(whole.weights))
    ]
    objective = replace(objective, groups=None)
    found = objective.edits.additions(state, (whole,), len(pool))
    means = torch.cat([more.means[-1:] for more in found])
    added = torch.cat([one.means for one in pool])
    assert torch.equal(means.sort(0).values, added.sort(0).values)
    costs = [objective.cost(more) for more in found]
    assert costs == sorted(costs)
    assert min(costs) < state.cost


def test_what_was_lost_is_added_again(rng):
    objective, state, whole = without_one(rng)
    search = Search(objective, SolverSettings(1e-3, 100, 0.1, moves=True), (whole,))
    better = search.try_additions(state)
    assert better[-1].n_components == state.n_components + 1
    assert better[-1].cost < state.cost
    assert not replace(search, pool=()).try_additions(state)


def test_a_path_costs_what_its_mixtures_cost(rng):
    objective, state, _ = without_one(rng)
    uncharged = objective.edits.uncharged()
    free = uncharged.objective.evaluate(state.parameters)
    assert free.penalty == 0.0
    assert uncharged.charged(free).cost == pytest.approx(state.cost, abs=1e-12)


def fit_with_a_spike(X, spike, moves="auto", structure="full"):
    """A sparse fit that starts with a narrow component at a point."""
    n_features = X.shape[1]
    precisions = {"full": np.eye(n_features), "diag": np.ones(n_features)}[structure]
    return KeOpsGaussianMixture(
        2,
        covariance_type=structure,
        sparsity=0.3,
        moves=moves,
        means_init=[np.zeros(n_features), spike],
        precisions_init=[precisions, 1e6 * precisions],
    ).fit(X)


def test_no_component_is_kept_on_a_sample_among_others(rng):
    """Its likelihood has no maximum, and any sample would do as well."""
    X = rng.normal(size=(500, 2))
    plain, moved = (fit_with_a_spike(X, X[7], moves) for moves in (False, "auto"))
    assert plain.weights_.min() * len(X) < 3
    assert moved.n_components_ == 1
    assert moved.cost_ > plain.cost_
    costs = [*moved.costs_, moved.cost_]
    assert (np.diff(costs) <= 1e-12).all()
    assert moved.n_iter_ == len(moved.costs_) == len(moved.lower_bounds_)


def test_what_is_far_from_all_else_keeps_its_component(rng):
    X = rng.normal(size=(500, 2))
    X[7] = 1e3
    found = fit_with_a_spike(X, X[7])
    assert found.n_components_ == 2
    assert np.abs(found.means_).max(1).max() == pytest.approx(1e3)
    assert np.abs(found.covariances_).max() < 2


def test_a_diagonal_needs_two_samples(rng):
    """A matrix would need seven of six features."""
    X = np.concatenate([rng.normal(size=(500, 6)), 3 + 0.01 * rng.normal(size=(4, 6))])
    assert fit_with_a_spike(X, X[-1], structure="diag").n_components_ == 2
