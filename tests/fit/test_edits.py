"""Splits go along the axis that is longest beside the whole mixture, in any units."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.utils import check_random_state

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import build_problem, starting_point
from sklearn_keops_gmm._fit._local import Field
from tests.fit.test_local import problem

# Others have one width for all features, whose units matter then.
every_shape = pytest.mark.parametrize("structure", ["full", "diag", "tied"])


def halves(objective, parameters, j):
    """Return the means of the halves of a component, in the order of a feature."""
    means = objective.edits.split(parameters, j).means[[j, -1]]
    return means[means[:, 0].argsort()].numpy()


def direction(structure, X, units):
    """Return along which line a single component is split, in units of X."""
    mixture = KeOpsGaussianMixture(1, covariance_type=structure, reg_covar=0.0)
    task = build_problem(mixture, as_source(X * units, None).read(mixture, 1))
    start = starting_point(mixture, task, check_random_state(0))
    line = np.subtract(*halves(task.objective, start, 0)) / units
    return line / np.linalg.norm(line)


@every_shape
def test_units_do_not_matter(structure, rng):
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
    units = np.array([1e-6, 1.0, 1e6])
    assert_allclose(direction(structure, X, units), direction(structure, X, 1.0))


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_a_part_is_split_as_in_the_whole(structure, rng):
    """What is longest is told beside all components, not beside those of the part."""
    objective, state = problem(rng, "native", structure)
    pairs, losses, _ = objective.edits.merger_estimates(state)
    field = Field.of(objective, state, pairs, losses)
    for j in range(state.n_components):
        part = field.part(torch.tensor([j]))
        alone = halves(part.objective, part.state.parameters, 0)
        assert_allclose(alone, halves(objective, state.parameters, j))
