"""Samples that are likely enough are found without a look at most of the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model import Frame, UniformNoise
from sklearn_keops_gmm.backends import (
    NoiseBackend,
    get_backend,
    rows_above,
    suited_to,
)
from sklearn_keops_gmm.backends._native import _reductions
from tests import reference
from tests.backends.cases import (
    PLAIN,
    components_of,
    draw_mixture,
    every_dtype,
    every_structure,
)
from tests.common import DENSE_BACKENDS, needs_compiled

N_SAMPLES = 1500

pytestmark = needs_compiled


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Order rows, however few they are; in several chunks."""
    monkeypatch.setattr(_reductions, "_PRUNED_ROWS", 1)
    monkeypatch.setattr(_reductions, "_GRAIN", 1)


def case(structure, n_features, n_components, dtype=np.float64):
    """Return rows, components at places ten apart, and floors around what they have."""
    rng = np.random.default_rng(n_features)
    means = rng.uniform(-50, 50, size=(40, n_features))
    points = means[rng.integers(40, size=N_SAMPLES)]
    points = (points + rng.normal(size=points.shape)).astype(dtype)
    mixture = draw_mixture(
        rng, structure, means[:n_components], 1.0, widest=2.0, slope=-0.6
    )
    want = reference.log_density(points, *mixture)
    floors = np.float64(want) + rng.choice([-5.0, -1.0, 1.0, 5.0], size=N_SAMPLES)
    return points, mixture, want, floors


def bind(points, name="native"):
    centre = torch.full((points.shape[1],), 3.0, dtype=torch.float64)
    frame = Frame(centre, 16.0)
    return get_backend(name)(torch.from_numpy(points), None, frame)


def find(reductions, mixture, floors):
    """Return rows in their order, and their log-densities."""
    given = components_of(mixture), torch.from_numpy(np.float64(floors))
    rows, found = rows_above(reductions, *given)
    order = rows.argsort()
    return rows[order].numpy(), found[order].numpy()


@every_structure
@every_dtype
@pytest.mark.parametrize("name", DENSE_BACKENDS)
@pytest.mark.parametrize("n_features", [1, 2, 4, 6])
@pytest.mark.parametrize("n_components", [1, 7])
@pytest.mark.fast(8)
def test_reference(structure, dtype, name, n_features, n_components):
    points, mixture, want, floors = case(structure, n_features, n_components, dtype)
    tolerance = 1e-10 if dtype is np.float64 else 2e-3
    # Of floors that are lower than most log-densities, too.
    for some in (floors, np.where(floors < want, floors, np.median(want))):
        rows, found = find(bind(points, name), mixture, some)
        close = np.abs(want - some) < tolerance * np.abs(want)
        expected = want > some
        inside = np.isin(np.arange(N_SAMPLES), rows)
        assert 0 < expected.sum() < N_SAMPLES
        assert_array_equal(inside[~close], expected[~close])
        assert_allclose(found, np.float64(want[rows]), rtol=tolerance)


def test_floors_of_every_kind():
    points, mixture, want, floors = case("full", 2, 3)
    reductions = bind(points)
    rows, found = find(reductions, mixture, np.full(N_SAMPLES, -np.inf))
    assert_array_equal(rows, np.arange(N_SAMPLES))
    assert_allclose(found, np.float64(want), rtol=1e-10)
    for none in (np.inf, np.nan):
        assert len(find(reductions, mixture, np.full(N_SAMPLES, none))[0]) == 0
    floors[::2] = np.nan
    rows, _ = find(reductions, mixture, floors)
    assert_array_equal(rows, np.flatnonzero(want > floors))


def test_components_that_are_no_numbers():
    points, mixture, *_ = case("full", 2, 3)
    mixture[2][1] = np.nan
    assert len(find(bind(points), mixture, np.full(N_SAMPLES, -np.inf))[0]) == 0


def test_rows_that_are_infinitely_unlikely():
    points, mixture, *_ = case("diag", 2, 3)
    points[7] = 1e300
    rows, _ = find(bind(points), mixture, np.full(N_SAMPLES, -np.inf))
    assert_array_equal(rows, np.delete(np.arange(N_SAMPLES), 7))


@pytest.mark.parametrize("name", DENSE_BACKENDS)
@pytest.mark.parametrize("weight", [0.0, 0.1])
@pytest.mark.parametrize("unseen", [False, True])
def test_beside_noise(name, weight, unseen):
    """What is above a floor is what the log-density says, noise or not."""
    points, mixture, *_ = case("full", 2, 7)
    if unseen:
        points[5] = np.nan
    points = torch.from_numpy(points)
    low, high = torch.full((2,), -60.0).double(), torch.full((2,), 60.0).double()
    noise = UniformNoise.within(low, high, None, torch.zeros_like(low))
    backend = NoiseBackend(suited_to(points, get_backend(name)), noise)
    reductions = backend(points, None, PLAIN)
    components = replace(components_of(mixture), noise_weight=weight)
    want = reductions.log_density(components)
    floors = want.median().expand(N_SAMPLES).contiguous()
    rows, found = rows_above(reductions, components, floors)
    assert_array_equal(rows.sort().values, (want > floors).nonzero()[:, 0])
    assert_allclose(found, want[rows], rtol=1e-12)
