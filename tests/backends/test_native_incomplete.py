"""The compiled loops over rows with missing features."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_keops_gmm.backends._native import _incomplete
from tests.backends.cases import MODULES, assert_same_moments, compiled_module
from tests.backends.incomplete_arguments import (
    incomplete_arguments,
    wrong_incomplete_arguments,
)
from tests.backends.test_incomplete import make_case, some_patterns
from tests.common import needs_compiled

pytestmark = needs_compiled


@pytest.fixture(params=MODULES)
def module(request, monkeypatch):
    """Each compiled module that this processor can run."""
    compiled = compiled_module(request.param)
    monkeypatch.setattr(_incomplete, "native_module", lambda: compiled)
    return compiled


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("n_components", [1, 3, 8, 17])
@pytest.mark.parametrize("n_features", [1, 2, 5, 33])
@pytest.mark.fast(6)
def test_sizes(structure, n_components, n_features, rng):
    """Few rows for each pattern, and many, whatever lanes are left over."""
    observed = some_patterns(rng, 12, n_features)
    observed = observed.repeat(rng.choice([1, 2, 3, 9, 31, 32, 70], size=12), axis=0)
    case = make_case(
        rng, structure, np.float64, observed, n_components=n_components, weighted=True
    )
    found = case.reductions("native").moments(case.components())
    assert_same_moments(found, case.expected(), 1e-11)
    other = case.reductions("torch").moments(case.components())
    assert found.missing == pytest.approx(other.missing, rel=1e-11, abs=1e-11)


@pytest.mark.usefixtures("module")
def test_many_rows_in_chunks(many_threads, rng):
    case = make_case(
        rng, "full", np.float64, some_patterns(rng, 20_000, 4), n_components=9
    )
    native = case.reductions("native")
    found = [native.moments(case.components()) for _ in range(2)]
    torch.set_num_threads(1)
    found.append(native.moments(case.components()))
    for moments in found[1:]:
        assert_same_moments(moments, found[0], 0.0)
    other = case.reductions("torch").moments(case.components())
    assert_same_moments(found[0], other, 1e-11)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("n_rows", [60, 600])
def test_a_covariance_that_is_not_positive_definite(n_rows, rng):
    case = make_case(rng, "full", np.float64, some_patterns(rng, n_rows, 3, 0.5))
    case.factors[1] = 0.0
    moments = case.reductions("native").moments(case.components())
    assert np.isnan(moments.log_likelihood)
    assert torch.isnan(moments.mass).all()


def test_wrong_arguments(module):
    given = incomplete_arguments()
    module.incomplete_moments(*given.values())
    assert given["out"][0] == pytest.approx(3.0)
    for name, wrong in wrong_incomplete_arguments():
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            module.incomplete_moments(*wrong.values())
    with pytest.raises(TypeError):
        module.incomplete_moments(*list(given.values())[:-1])


def test_sums_are_added_to(module):
    given = incomplete_arguments()
    module.incomplete_moments(*given.values())
    once = given["out"].copy()
    module.incomplete_moments(*given.values())
    assert_array_equal(given["out"], 2 * once)
