"""Moves to other components lower the cost, and end where none does."""

from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm.solvers import SolverSettings
from sklearn_keops_gmm.solvers._moves import Search
from tests import reference
from tests.backends.cases import every_backend_but_keops
from tests.common import blobs, every_backend, mixture_of, spiral
from tests.reference import COVARIANCE_TYPES
from tests.solvers.test_em import draw, error_of_fit, narrowest, problems

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
sparse = partial(KeOpsGaussianMixture, sparsity=10.0, random_state=0)


@cache
def tutorial_spiral():
    """The spiral at the size that it has in KeOps' tutorial."""
    t = np.linspace(0, 2 * np.pi, 10_000)
    curve = (0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t))
    noise = np.random.RandomState(0).normal(size=(10_000, 2))
    return np.stack(curve, axis=1) + 0.02 * noise


def cost_of(model, X):
    """The penalised cost, from the public attributes alone."""
    penalty = model.sparsity / model.n_components * np.sqrt(model.weights_).sum()
    parts = reference.components_of(model.covariance_type, mixture_of(model))
    return penalty - reference.log_density(X, *parts).mean()


@every_backend
@every_structure
@pytest.mark.fast(2)
def test_moves_lower_the_cost(backend, structure):
    X = spiral(500)
    given = {"covariance_type": structure, "means_init": X[::63]}
    plain, moved = (
        sparse(8, backend=backend, moves=moves, **given).fit(X)
        for moves in (False, True)
    )
    assert moved.n_components_ < plain.n_components_
    assert moved.cost_ < plain.cost_
    assert moved.cost_ == pytest.approx(cost_of(moved, X), abs=1e-10)
    for name in ("weights_", "means_"):
        assert len(getattr(moved, name)) == moved.n_components_
    assert moved.n_iter_ == len(moved.costs_) == len(moved.lower_bounds_)
    assert moved.costs_[: plain.n_iter_] == plain.costs_


@every_structure
@settings(max_examples=5)
@given(problem=problems, sparsity=st.sampled_from([0.5, 5.0, 50.0]))
@pytest.mark.slow
def test_cost_never_rises(structure, problem, sparsity):
    """Each state that is kept is below the one before, by a move or by EM."""
    X = draw(**problem)
    model = KeOpsGaussianMixture(
        problem["n_blobs"] + 3,
        covariance_type=structure,
        sparsity=sparsity,
        reg_covar=0,
        random_state=0,
    )
    # Where a component collapses the likelihood has no maximum.
    assume(not error_of_fit(model, X))
    assume(narrowest(X, structure, mixture_of(model)) > 1e-10)
    costs = np.array([*model.costs_, model.cost_])
    assert (np.diff(costs) <= 1e-11 * np.maximum(1, np.abs(costs[1:]))).all()
    assert model.cost_ == pytest.approx(cost_of(model, X), rel=1e-9)
    assert model.weights_.sum() == pytest.approx(1, abs=1e-12)


@every_backend
@every_structure
@pytest.mark.fast(2)
def test_cost_never_rises_on_either_backend(backend, structure):
    X = blobs(2000)
    model = sparse(
        7, covariance_type=structure, backend=backend, reg_covar=0, tol=1e-6
    ).fit(X)
    assert model.n_components_ < 7
    costs = np.array([*model.costs_, model.cost_])
    assert (np.diff(costs) <= 1e-12).all()


@every_backend_but_keops
def test_a_component_far_from_all_others(name, rng):
    """It is a part by itself, of which nothing is left without it."""
    centres = 40.0 * np.arange(20.0)[:, None]
    X = np.concatenate([centre + rng.normal(size=(40, 1)) for centre in centres])
    model = sparse(20, backend=name, means_init=centres, sparsity=0.1).fit(X)
    assert model.n_components_ == 20
    assert model.cost_ == pytest.approx(cost_of(model, X), rel=1e-9)


def test_weights_sum_to_one():
    """A ridge that is wide beside the data, and parts on which it makes EM go up."""
    X = np.random.default_rng(0).uniform(size=(1000, 1))
    model = sparse(22, sparsity=0.1, reg_covar=0.01).fit(X)
    assert model.weights_.sum() == pytest.approx(1.0, abs=1e-12)
    assert model.cost_ == pytest.approx(cost_of(model, X), rel=1e-9)


def test_what_is_left_out_again_ends_moves():
    """A component that pays, but by luck alone, is not added time after time."""
    asked = []

    class Lucky(Search):
        """Whatever is added lowers the cost, and is left out again."""

        def try_splits(self, state):
            return []

        def try_additions(self, state):
            asked.append(state)
            return [SimpleNamespace(cost=state.cost - 1.0)]

        def descend(self, chain):
            chain.append(SimpleNamespace(cost=chain[0].cost))
            return True

    objective = SimpleNamespace(edits=SimpleNamespace(n_components=50))
    search = Lucky(objective, SolverSettings(1e-3, 100, 0.0))
    assert search.improve([SimpleNamespace(cost=3.0)], converged=False)
    assert len(asked) == 1


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.slow
def test_spiral_ends_alike_from_every_seed(seed):
    """Where KeOps' tutorial leaves three to five components and a higher cost."""
    X = tutorial_spiral()
    model = KeOpsGaussianMixture(30, sparsity=20.0, random_state=seed).fit(X)
    assert model.n_components_ == 4
    assert cost_of(model, X) == pytest.approx(-0.4226, abs=1e-4)


def test_two_reductions_where_one_does_not_pay():
    """Three equal blobs cost less as one, but more as two."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 1, (1000, 2)) for c in (-5, 0, 5)])
    given = {"reg_covar": 0.1, "tol": 1e-6, "random_state": 0}
    costs = [
        cost_of(KeOpsGaussianMixture(k, sparsity=k, moves=False, **given).fit(X), X)
        for k in (1, 2, 3)
    ]
    assert costs[0] < costs[2] < costs[1]
    model = KeOpsGaussianMixture(20, sparsity=20.0, **given).fit(X)
    assert model.n_components_ == 1
    assert model.cost_ == pytest.approx(costs[0], abs=1e-6)


@every_structure
@pytest.mark.fast(1)
def test_fixed_point_is_stationary(structure):
    """Moves end in a place where one more step of EM changes nothing."""
    X = blobs()
    model = sparse(6, covariance_type=structure, tol=1e-9, max_iter=2000).fit(X)
    assert model.converged_
    parts = reference.components_of(structure, mixture_of(model))
    mass = reference.responsibilities(X, *parts).mean(axis=0)
    slopes = 10 / 6 / (2 * np.sqrt(model.weights_)) - mass / model.weights_
    assert slopes - slopes.mean() == pytest.approx(0, abs=1e-4)


def test_starts_are_compared_after_moves():
    X = spiral(500)
    several = sparse(8, covariance_type="tied", n_init=4, init_params="random").fit(X)
    one = sparse(8, covariance_type="tied", init_params="random").fit(X)
    assert several.cost_ <= one.cost_


def test_no_moves_without_sparsity_unless_asked_for():
    X = blobs()
    a, b = (
        KeOpsGaussianMixture(5, moves=moves, random_state=0).fit(X)
        for moves in (False, "auto")
    )
    assert a.n_components_ == b.n_components_ == 5
    assert a.costs_ == b.costs_


@every_structure
@pytest.mark.fast(2)
def test_swaps(structure):
    """As many components, where they do more: the cost falls at every step."""
    rng = np.random.default_rng(5)
    means = np.repeat([[0, 0], [30, 0], [30, 2], [30, 8], [33, 8], [0, 9]], 80, axis=0)
    X = means + rng.normal(size=(480, 2))
    start = {"means_init": [[-1, 0], [1, 0], [0, 1], [0, 8], [0, 9], [30, 5]]}
    given = start | {"covariance_type": structure, "tol": 1e-5, "random_state": 0}
    plain = KeOpsGaussianMixture(6, **given).fit(X)
    moved = KeOpsGaussianMixture(6, moves=True, **given).fit(X)
    assert moved.n_components_ == 6
    assert moved.score(X) > plain.score(X) + 0.1
    costs = np.array([*moved.costs_, moved.cost_])
    assert np.diff(costs).max() < 1e-9
    assert moved.cost_ == pytest.approx(-moved.score(X))


@pytest.mark.parametrize("seed", range(4))
def test_no_swap_gains_by_a_spike(seed):
    """Rows that are all but equal would be worth many nats."""
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(c, 1, (40, 2)) for c in (-5, 0, 5)])
    X = np.concatenate([X, X[:2] + 1e-7])
    model = KeOpsGaussianMixture(5, moves=True, random_state=seed, reg_covar=1e-12)
    plain = KeOpsGaussianMixture(5, random_state=seed, reg_covar=1e-12).fit(X)
    weak = [(m.weights_ * len(X) < 3).sum() for m in (plain, model.fit(X))]
    assert weak[1] <= weak[0]


def test_no_iterations_no_moves():
    model = sparse(6, max_iter=0).fit(blobs())
    assert model.n_components_ == 6
    assert model.n_iter_ == 0


def test_warm_start_goes_on_from_the_components_left():
    X = spiral(500)
    model = sparse(8, warm_start=True).fit(X)
    left, cost = model.n_components_, model.cost_
    model.fit(X)
    assert model.n_components_ == left
    assert model.cost_ <= cost + 1e-12
