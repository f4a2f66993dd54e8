"""So many components that the native backend takes some at a time."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model import Frame
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

# Two whole parts and one more.
N_COMPONENTS, N_SAMPLES, N_FEATURES = 1100, 150, 9


def case(structure, width, dtype=np.float64, n_features=N_FEATURES):
    """Return rows, weights and components of a width, in order of how near they are.

    The last one is the nearest one to most rows: each part has a new maximum.
    """
    rng = np.random.default_rng(0)
    means = rng.normal(size=(N_COMPONENTS, n_features))
    means *= np.linspace(20, 0, N_COMPONENTS)[:, None]
    points = rng.normal(size=(N_SAMPLES, n_features)) * rng.uniform(
        0, 20, size=(N_SAMPLES, 1)
    )
    mixture = draw_mixture(rng, structure, means, width, widest=1.5, slope=-0.2)
    weights = rng.uniform(size=N_SAMPLES).astype(dtype)
    return points.astype(dtype), weights, mixture


def bind(points, weights=None):
    centre = torch.zeros(points.shape[1], dtype=torch.float64)
    return bind_native(points, weights, Frame(centre, 16.0))


@every_structure
@every_dtype
@pytest.mark.parametrize("width", [0.5, 5.0, 100.0])
@pytest.mark.fast(2)
def test_reference(structure, dtype, width):
    points, weights, mixture = case(structure, width, dtype)
    reductions, components = bind(points, weights), components_of(mixture)
    tolerance = 1e-10 if dtype is np.float64 else 2e-3
    found = reductions.moments(components)
    expected = reference.moments(points, weights, *mixture)
    assert_same_moments(found, expected, tolerance)
    want = reference.log_density(points, *mixture)
    assert_allclose(reductions.log_density(components), want, rtol=tolerance)


@every_structure
def test_responsibilities_and_labels(structure):
    """Small ones keep their digits: only moments leave them out."""
    points, _, mixture = case(structure, 1.0)
    reductions, components = bind(points), components_of(mixture)
    found = reductions.responsibilities(components).numpy()
    want = np.asarray(reference.responsibilities(points, *mixture), float)
    assert_allclose(found, want, rtol=1e-8, atol=1e-250)
    assert ((want > 1e-200) & (want < 1e-50)).any()
    assert_array_equal(reductions.labels(components), want.argmax(1))


def test_the_first_of_equal_components_is_the_label():
    points, _, (structure, offsets, means, factors) = case("full", 1.0)
    offsets[:], means[:], factors[:] = offsets[-1], means[-1], factors[-1]
    components = components_of((structure, offsets, means, factors))
    assert not bind(points).labels(components).any()


def test_shares_beyond_rounding_are_none():
    """Each of two groups of samples has components that the other never needs."""
    points, _, mixture = case("spherical", 1.0)
    mixture[2][:] = np.where(np.arange(N_COMPONENTS)[:, None] % 2, 30.0, -30.0)
    mass = bind(np.full_like(points, 30.0)).moments(components_of(mixture)).mass
    assert not mass[::2].any()
    assert_allclose(mass.sum(), N_SAMPLES)


def test_rows_that_are_infinitely_unlikely():
    points, _, mixture = case("diag", 1.0)
    points[7] = 1e300
    reductions, components = bind(points), components_of(mixture)
    density = reductions.log_density(components)
    assert density[7] == -torch.inf
    assert density[8:].isfinite().all()
    assert_allclose(reductions.moments(components).mass.sum(), N_SAMPLES - 1)


@pytest.mark.slow
def test_wide_tiles():
    """With so many features a tile has more samples; here there are two of them."""
    points, _, mixture = case("full", 30.0, n_features=40)
    points = np.concatenate([points, points + 0.5, points - 0.5])
    found = bind(points).moments(components_of(mixture))
    expected = reference.moments(points, None, *mixture)
    assert_same_moments(found, expected, 1e-10)
