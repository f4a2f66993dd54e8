"""Many components are merged at once only while few of them are needed."""

from itertools import islice, pairwise

import numpy as np
import pytest
from sklearn.utils import check_random_state

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import build_problem, starting_point
from sklearn_keops_gmm._fit._edits import MixtureEdits
from sklearn_keops_gmm.solvers import SolverSettings, homotopy
from sklearn_keops_gmm.solvers._thinning import thin_out
from tests.reference import COVARIANCE_TYPES, mean_log_likelihood

SETTINGS = SolverSettings(1e-3, 100, learning_rate=0.0)
# The mean log-likelihood of a component: by nats over all samples.
NATS = 15.0


def clusters(n_clusters, n_samples, rng):
    """Round clusters on a grid, well apart."""
    centres = 8.0 * np.argwhere(np.ones((7, 7)))[:n_clusters]
    return centres[np.arange(n_samples) % n_clusters] + rng.normal(size=(n_samples, 2))


def problem(X, n_components, structure="full"):
    """An objective with pooled covariances, and where it starts."""
    mixture = KeOpsGaussianMixture(
        n_components,
        covariance_type=structure,
        covariance_pooling="auto",
        init_params="k-means++",
    )
    task = build_problem(mixture, as_source(X, None).read(mixture, n_components))
    start = starting_point(mixture, task, check_random_state(0))
    start = start.normalised()
    return task.objective, task.objective.hold(start) or start


def thinned(objective, start, worth):
    """The states that are yielded, and that which is returned."""
    states = []

    def all_states():
        last = yield from thin_out(
            objective, objective.evaluate(start), worth, SETTINGS
        )
        states.append(last)

    yielded = list(all_states())
    return yielded + states


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_each_is_better_than_the_one_before(structure, rng):
    """By what components are worth, of densities that a reference finds."""
    X = clusters(5, 1000, rng)
    states = thinned(*problem(X, 80, structure), NATS / len(X))
    counts = [state.n_components for state in states]
    assert counts[0] == 80
    assert 5 <= counts[-1] <= 40
    for before, after in pairwise(states):
        own = after.parameters
        mixture = (own.weights, own.means, own.covariances)
        found = mean_log_likelihood(X, structure, map(np.asarray, mixture))
        assert after.log_likelihood == pytest.approx(found, abs=1e-8)
        fewer = before.n_components - after.n_components
        assert 4 <= fewer <= before.n_components / 3
        lost = before.log_likelihood - found
        assert lost <= 0.5 * fewer * NATS / len(X)


def test_none_goes_that_is_needed(rng):
    """Of forty clusters with one component each."""
    X = clusters(40, 2000, rng)
    objective, start = problem(X, 40)
    centres = 8.0 * np.argwhere(np.ones((7, 7)))[:40]
    start.means[:] = start.means.new_tensor(centres)
    start.weights[:] = 1 / 40
    start.covariances[:] = start.covariances.new_tensor(np.eye(2))
    start.precisions_cholesky[:] = start.covariances
    (state,) = thinned(objective, objective.hold(start), NATS / len(X))
    assert state.n_components == 40


def test_none_goes_where_mergers_collapse(rng, monkeypatch):
    objective, start = problem(clusters(5, 1000, rng), 60)

    def collapse(*_):
        raise ValueError("collapsed")

    monkeypatch.setattr(MixtureEdits, "merged", collapse)
    (state,) = thinned(objective, start, 1.0)
    assert state.n_components == 60


def test_paths_from_few_components_are_whole(rng):
    X = clusters(3, 300, rng)
    objective, start = problem(X, 32)
    found = [
        [(state.n_components, state.cost) for state in islice(path, 4)]
        for path in (
            homotopy(objective, start, SETTINGS),
            homotopy(objective, start, SETTINGS, worth=1.0),
        )
    ]
    assert found[0] == found[1]
    assert [count for count, _ in found[0]] == [32, 31, 30, 29]
