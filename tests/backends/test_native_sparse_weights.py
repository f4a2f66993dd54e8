"""The compiled sparse weights: those of the reference, on every processor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sklearn_keops_gmm._model import SparsityPrior, sparse_weights
from sklearn_keops_gmm.backends import BACKENDS, sparse_weights_by
from sklearn_keops_gmm.backends._native._m_step import native_sparse_weights
from tests.backends.m_step_arguments import (
    sparse_weights_arguments,
    wrong_sparse_weights,
)
from tests.common import needs_compiled
from tests.model.test_priors import simplexes

pytestmark = needs_compiled

PRICES = [0.0, 1e-9, 0.01, 0.3, 1.0, 5.0, 300.0, 1e9]


@st.composite
def problems(draw):
    """Masses, some of them zero, weights to start from, and a price."""
    mass, start = draw(simplexes())
    if draw(st.booleans()):
        mass[1::2] = 0.0
    if not mass.any():
        mass[0] = 1.0
    return mass / mass.sum(), start, draw(st.sampled_from(PRICES))


@given(problem=problems())
@pytest.mark.fast(20)
def test_same_as_the_reference(problem):
    mass = problem[0]
    found = native_sparse_weights(*problem)
    assert_allclose(found, sparse_weights(*problem), rtol=1e-12, atol=1e-14)
    assert found.sum() == pytest.approx(1, abs=1e-14)
    assert (found[mass == 0] == 0).all()


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 600])
def test_of_every_processor(module, size, price, rng):
    problem = rng.dirichlet(np.ones(size)), rng.dirichlet(np.ones(size)), price
    found = native_sparse_weights(*problem)
    assert_allclose(found, sparse_weights(*problem), rtol=1e-12, atol=1e-14)


def test_strided_numbers(module, rng):
    mass, start = rng.dirichlet(np.ones(5), size=2)
    strided = np.stack((mass, start), 1)
    found = native_sparse_weights(strided[:, 0], strided[:, 1], 3.0)
    assert_allclose(found, sparse_weights(mass, start, 3.0), rtol=1e-12)


def test_which_backends_have_them():
    """Others leave them to the prior, which knows a way of its own."""
    assert sparse_weights_by(BACKENDS["native"]) is native_sparse_weights
    for name in ("torch", "keops"):
        assert sparse_weights_by(BACKENDS[name]) is sparse_weights
    assert SparsityPrior(1.0, 3).weights_of is sparse_weights


def test_no_wrong_arguments(module):
    module.sparse_weights(*sparse_weights_arguments().values())
    for name, wrong in wrong_sparse_weights():
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            module.sparse_weights(*wrong.values())
