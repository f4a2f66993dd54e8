"""Pairs that the native backend leaves out change nothing."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model import Frame
from sklearn_keops_gmm.backends._native import _reductions
from tests import reference
from tests.backends.cases import (
    assert_same_moments,
    bind_native,
    components_of,
    draw_mixture,
    every_dtype,
    every_structure,
)
from tests.common import needs_compiled

pytestmark = needs_compiled

N_COMPONENTS = 60
ORDERS = "_WORTH_AN_ORDER_OF_SUMS", "_WORTH_AN_ORDER"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Prune, and order rows, however few they are; in several chunks."""
    for name in ("_PRUNED_COMPONENTS", "_PRUNED_ROWS", *ORDERS):
        monkeypatch.setattr(_reductions, name, 1)
    monkeypatch.setattr(_reductions, "_GRAIN", 1)


def case(structure, n_features, width, dtype=np.float64):
    """Return rows, weights and components of that width, at places ten apart."""
    rng = np.random.default_rng(n_features)
    means = rng.uniform(-50, 50, size=(N_COMPONENTS, n_features))
    near = means[rng.integers(N_COMPONENTS, size=1500)]
    points = near + width * rng.normal(size=near.shape)
    points[:3] *= 50
    mixture = draw_mixture(rng, structure, means, width, widest=2.0, slope=-0.6)
    return points.astype(dtype), rng.uniform(size=1500).astype(dtype), mixture


def bind(points, weights=None):
    centre = torch.full((points.shape[1],), 3.0, dtype=torch.float64)
    return bind_native(points, weights, Frame(centre, 16.0))


@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [0.3, 3.0, 100.0])
@pytest.mark.fast(8)
def test_reference(structure, dtype, n_features, width):
    points, weights, mixture = case(structure, n_features, width, dtype)
    components = components_of(mixture)
    tolerance = 1e-10 if dtype is np.float64 else 2e-3
    for some in (None, weights):
        reductions = bind(points, some)
        found = reductions.moments(components)
        expected = reference.moments(points, some, *mixture)
        assert_same_moments(found, expected, tolerance)
    want = reference.log_density(points, *mixture)
    assert_allclose(reductions.log_density(components), want, rtol=tolerance)


@every_structure
def test_no_pair_is_missed(structure, monkeypatch):
    """As without pruning, in the same order of rows, to the rounding of a sum."""
    points, weights, mixture = case(structure, 3, 2.0)
    components, reductions = components_of(mixture), bind(points, weights)
    pruned = reductions.moments(components), reductions.log_density(components)
    monkeypatch.setattr(_reductions, "_PRUNED_COMPONENTS", N_COMPONENTS + 1)
    dense = reductions.moments(components), reductions.log_density(components)
    assert_allclose(pruned[0].mass, dense[0].mass, rtol=1e-12)
    assert_allclose(pruned[1], dense[1], rtol=1e-13)
    again = bind(points, weights)
    monkeypatch.undo()
    assert_array_equal(again.log_density(components), dense[1])


def test_rows_that_are_summed_again_are_ordered(monkeypatch):
    """For one sum of few components an order takes longer than it saves."""
    monkeypatch.setattr(_reductions, "_WORTH_AN_ORDER_OF_SUMS", N_COMPONENTS + 1)
    points, weights, mixture = case("full", 2, 0.3)
    components, reductions = components_of(mixture), bind(points, weights)
    ordered = []
    for _ in range(2):
        found = reductions.moments(components)
        assert_same_moments(found, reference.moments(points, weights, *mixture), 1e-10)
        ordered.append("_sorted" in vars(reductions))
    assert ordered == [False, True]


def test_components_that_are_no_numbers():
    points, _, mixture = case("full", 2, 1.0)
    mixture[2][5] = np.nan
    assert bind(points).log_density(components_of(mixture)).isnan().all()


def test_rows_that_are_infinitely_unlikely():
    points, _, mixture = case("diag", 2, 1.0)
    points[7] = 1e300
    density = bind(points).log_density(components_of(mixture))
    assert density[7] == -torch.inf
    assert density[8:].isfinite().all()
    assert bind(points).moments(components_of(mixture)).mass.isfinite().all()
