"""Parts of a mixture on the samples that they own: costs are those of the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.utils import check_random_state

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import build_problem, starting_point
from tests.common import every_backend

own_covariances = pytest.mark.parametrize("structure", ["full", "diag", "spherical"])
N_COMPONENTS = 8


def row_of_blobs(rng, n_samples=600):
    """Clusters side by side: each overlaps its neighbours, and no others."""
    centres = np.arange(N_COMPONENTS)[rng.integers(N_COMPONENTS, size=n_samples)]
    return np.stack([5.0 * centres, 0 * centres], 1) + rng.normal(size=(n_samples, 2))


def problem(rng, backend="native", structure="full", weighted=False, **given):
    """An objective, and a state of its mixture."""
    X = row_of_blobs(rng)
    weights = rng.uniform(0.1, 2, len(X)) if weighted else None
    mixture = KeOpsGaussianMixture(
        N_COMPONENTS, covariance_type=structure, backend=backend, **given
    )
    data = as_source(X, weights).read(mixture, N_COMPONENTS)
    task = build_problem(mixture, data)
    start = starting_point(mixture, task, check_random_state(0))
    start = start.normalised()
    objective = task.objective
    return objective, objective.evaluate(objective.hold(start) or start)


def changed(part, rng):
    """Return other parameters of a part."""
    own = part.state.parameters
    noise = torch.from_numpy(rng.normal(size=own.means.shape))
    weights = own.weights * torch.tensor([1.5, 0.5])
    weights *= own.weights.sum() / weights.sum()
    return replace(own, means=own.means + 0.1 * noise, weights=weights)


@every_backend
@own_covariances
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "given", [{}, {"sparsity": 3.0}, {"covariance_pooling": "auto"}], ids=str
)
def test_costs_are_those_of_the_whole(backend, structure, weighted, given, rng):
    objective, state = problem(rng, backend, structure, weighted, **given)
    field = objective.edits.field(state)
    part = field.part(torch.tensor([2, 3]))
    assert len(part.rows) < 0.9 * objective.reductions.n_samples
    as_it_was = part.objective.evaluate(part.state.parameters)
    assert as_it_was.cost == pytest.approx(state.cost, abs=1e-6)
    found = part.objective.evaluate(changed(part, rng))
    whole = field.replaced(part, found)
    expected = objective.evaluate(whole.state.parameters)
    assert abs(expected.cost - state.cost) > 1e-3
    assert found.cost == pytest.approx(expected.cost, abs=2e-5)
    assert whole.state.cost == pytest.approx(found.cost, abs=1e-12)
    components = objective.components(whole.state.parameters)
    densities = objective.reductions.log_density(components)
    assert_allclose(whole.log_densities[part.rows], densities[part.rows], atol=1e-5)
    for name in ("mass", "first", "second"):
        have = getattr(found.moments, name)
        want = getattr(expected.moments, name)[-2:]
        assert_allclose(have, want, atol=2e-3 * float(want.abs().max()))


@own_covariances
@pytest.mark.parametrize("sparsity", [0.0, 5.0])
def test_steps_lower_the_cost_of_the_whole(structure, sparsity, rng):
    """They leave other components, and the sum of the weights, as they are."""
    objective, state = problem(rng, structure=structure, sparsity=sparsity)
    field = objective.edits.field(state)
    part = field.part(torch.tensor([2, 3, 4]))
    chain = [part.objective.evaluate(part.state.parameters)]
    for _ in range(8):
        following = part.objective.maximize(chain[-1])
        assert float(following.weights.sum()) == pytest.approx(
            float(part.state.parameters.weights.sum()), rel=1e-12
        )
        chain.append(part.objective.evaluate(following))
    costs = np.array([one.cost for one in chain])
    assert np.diff(costs).max() < 1e-6
    whole = field.replaced(part, chain[-1]).state.parameters
    kept = [0, 1, 5, 6, 7]
    assert bool((whole.means[:5] == state.parameters.means[kept]).all())
    assert objective.evaluate(whole).cost < state.cost


@own_covariances
def test_estimates_are_updated(structure, rng):
    """As if they were made anew, for pairs that are in both."""
    objective, state = problem(rng, structure=structure)
    field = objective.edits.field(state)
    part = field.part(torch.tensor([2, 3]))
    both = torch.tensor([[0, 1]])
    merged = part.objective.edits.merged(part.state, both)
    whole = field.replaced(part, part.objective.evaluate(merged))
    assert whole.state.n_components == N_COMPONENTS - 1
    expected = {
        tuple(pair): float(loss)
        for pair, loss in zip(
            *[x.tolist() for x in objective.edits.merger_estimates(whole.state)[:2]],
            strict=True,
        )
    }
    pairs, losses, _ = whole.merger_estimates()
    found = dict(zip(map(tuple, pairs.tolist()), losses.tolist(), strict=True))
    assert found.keys() == expected.keys()
    last = {pair for pair in found if N_COMPONENTS - 2 in pair}
    for pair in last:
        assert found[pair] == pytest.approx(expected[pair], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("structure", ["tied", "tied_diag", "tied_spherical"])
def test_shared_covariances_have_no_parts(structure, rng):
    objective, state = problem(rng, structure=structure)
    assert objective.edits.field(state) is None


def test_samples_that_are_not_held_have_no_parts(rng):
    X = row_of_blobs(rng)
    mixture = KeOpsGaussianMixture(3)
    data = as_source([X[:300], X[300:]], None).read(mixture, 3)
    task = build_problem(mixture, data)
    start = starting_point(mixture, task, check_random_state(0))
    assert task.objective.edits.field(task.objective.evaluate(start)) is None
