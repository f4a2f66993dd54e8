"""A start that no random number has a part in."""

import pytest
import torch

from sklearn_keops_gmm.solvers import grown
from tests.fit.test_local import problem
from tests.reference import COVARIANCE_TYPES


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_components", [1, 5])
def test_it_does_not_depend_on_where_it_is_asked(structure, n_components, rng):
    objective, state = problem(rng, "native", structure, False)
    after = objective.evaluate(objective.maximize(state))
    found = [
        grown(objective.edits.uncharged(), one, n_components) for one in (state, after)
    ]
    assert len(found[0].weights) == n_components
    for name in ("weights", "means", "covariances"):
        first, second = (getattr(parameters, name) for parameters in found)
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)


def test_a_single_component_has_the_moments_of_all_samples(rng):
    objective, state = problem(rng, "native", "full", True)
    single = objective.edits.uncharged().single(state)
    settled = objective.maximize(objective.evaluate(single))
    torch.testing.assert_close(single.means, settled.means)
    torch.testing.assert_close(single.covariances, settled.covariances)
