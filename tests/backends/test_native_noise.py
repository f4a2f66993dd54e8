"""Moments beside another density, which the compiled loops take along."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm._model import UniformNoise
from sklearn_keops_gmm.backends import NoiseBackend, get_backend
from sklearn_keops_gmm.backends._native import _reductions
from tests import reference
from tests.backends.cases import (
    assert_same_moments,
    every_dtype,
    every_structure,
    frame_of,
    make_case,
    tolerance,
)
from tests.common import needs_compiled

pytestmark = [needs_compiled, pytest.mark.usefixtures("module")]


def assert_as_dense(case, rest, rtol, frame=None):
    """Hold moments to the reference; where components are unlikely, they have less.

    `rest` is one for all samples, or one for each.
    """
    reductions = case.reductions("native", frame or frame_of(case.points.shape[1]))
    each = np.ndim(rest) > 0
    given = torch.from_numpy(rest) if each else rest
    found = reductions.moments_beside(case.components(), given)
    own = reference.log_density(case.points, *case.mixture)
    both = np.logaddexp(own, rest)
    weights = case.sample_weight
    weights = np.ones(len(own)) if weights is None else weights.astype(np.longdouble)
    sums = reference.moments(case.points, weights * np.exp(own - both), *case.mixture)
    noise = float((weights * np.exp(rest - both)).sum())
    sums = sums._replace(log_likelihood=float((weights * both).sum()))
    assert_same_moments(found, sums, rtol)
    if each:
        assert found.noise == found.noise_log_density == 0.0
        return found
    assert found.noise == pytest.approx(noise, rel=rtol)
    assert found.noise_log_density == pytest.approx(noise * rest, rel=rtol)
    return found


@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 2, 5, 9])
@pytest.mark.parametrize("rest", [-300.0, -10.0, 3.0])
@pytest.mark.fast(96)
def test_reference(structure, dtype, n_features, rest, rng):
    case = make_case(rng, structure, dtype, n_features=n_features, weighted=rest < 0)
    assert_as_dense(case, rest, 5 * tolerance(dtype))


@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [2, 9])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.fast(16)
def test_of_each_sample(structure, dtype, n_features, weighted, rng):
    """Densities from far above those of the components to nothing at all."""
    case = make_case(rng, structure, dtype, n_features=n_features, weighted=weighted)
    rest = rng.uniform(-60.0, 5.0, len(case.points))
    rest[::7] = -np.inf
    assert_as_dense(case, rest, 5 * tolerance(dtype))


@every_dtype
@pytest.mark.parametrize("distance", [1e2, 1e4, 1e8])
def test_samples_that_only_noise_explains(dtype, distance, rng):
    """Their densities would underflow, or be 0; as many bits of others are lost."""
    case = make_case(rng, "diag", dtype, n_samples=100, weighted=False)
    case.points[::3] += distance
    found = assert_as_dense(case, -20.0, 5 * tolerance(dtype))
    assert found.noise > 33.999


def test_far_clusters_of_one_covariance(rng):
    """What is referred to several anchors keeps its digits beside noise."""
    case = make_case(rng, "tied", np.float64, n_features=6)
    case.means[:] += 1e5 * rng.normal(size=case.means.shape)
    case.points[:] = case.means[np.arange(len(case.points)) % len(case.means)]
    case.points[:] += rng.normal(size=case.points.shape)
    assert_as_dense(case, -8.0, 1e-9)


@every_structure
@pytest.mark.fast(3)
def test_pruned(structure, monkeypatch, rng):
    order = "_WORTH_AN_ORDER_OF_SUMS"
    for name in ("_PRUNED_COMPONENTS", "_PRUNED_ROWS", order, "_GRAIN"):
        monkeypatch.setattr(_reductions, name, 1)
    case = make_case(
        rng, structure, np.float64, n_samples=1500, n_components=60, weighted=False
    )
    case.means[:] *= 50.0
    case.points[:] = case.means[np.arange(1500) % 60] + case.points
    assert_as_dense(case, -9.0, 1e-11)
    assert_as_dense(case, rng.uniform(-30.0, 3.0, 1500), 1e-11)


@every_structure
@pytest.mark.parametrize("rest", [-300.0, -10.0, 3.0])
@pytest.mark.slow
def test_some_components_at_a_time(structure, rest, rng):
    """Noise is met once, whatever part of the components is nearest."""
    case = make_case(rng, structure, np.float64, n_samples=150, n_components=1100)
    assert_as_dense(case, rest, 1e-10)
    assert_as_dense(case, rest + rng.normal(size=150), 1e-10)


@pytest.mark.parametrize("weight", [1e-9, 0.2, 1 - 1e-9])
def test_one_pass_as_two(weight, rng):
    """The moments of noise are those that other backends find in two passes."""
    case = make_case(rng, "full", np.float64, n_samples=400)
    low, high = (torch.from_numpy(x) for x in (case.points.min(0), case.points.max(0)))
    noise = UniformNoise.within(low, high, None, torch.zeros_like(low))
    components = replace(case.components(), noise_weight=weight)
    points = torch.from_numpy(case.points), torch.from_numpy(case.sample_weight)
    found, other = (
        NoiseBackend(get_backend(name), noise)(*points, case.frame()).moments(
            components
        )
        for name in ("native", "torch")
    )
    assert_same_moments(found, other, 1e-12)
    for name in ("noise", "noise_log_density"):
        assert_allclose(getattr(found, name), getattr(other, name), rtol=1e-12)
