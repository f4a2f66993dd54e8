"""The digits that every backend keeps: far, narrow, large and many."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.backends.cases import (
    PLAIN,
    Case,
    assert_same_answers,
    assert_same_moments,
    every_backend,
    every_dtype,
    every_structure,
    make_case,
    tolerance,
)
from tests.common import needs_compiled


@every_backend
@every_structure
@every_dtype
def test_far_from_origin(name, structure, dtype, rng):
    """Components 0.01 wide at an offset of 1000: the frame keeps the digits."""
    case = make_case(rng, structure, dtype, centre=1000.0, width=0.01)
    assert_same_answers(case, name, 2 * tolerance(dtype), case.frame())


@every_backend
@every_structure
@pytest.mark.parametrize("power", [150, -150])
def test_magnitude(name, structure, power, rng):
    """Scaling by a power of ten moves log-densities by a constant, nothing else."""
    unit = make_case(rng, structure, np.float64)
    size = 10.0**power
    case = replace(
        unit,
        points=unit.points * size,
        means=unit.means * size,
        factors=unit.factors / size,
        offsets=unit.offsets - 2 * np.log(size),
    )
    reductions, components = case.reductions(name, case.frame()), case.components()
    expected = reference.log_density(unit.points, *unit.mixture) - 2 * np.log(size)
    assert_allclose(reductions.log_density(components), expected, rtol=1e-12)
    expected = reference.responsibilities(unit.points, *unit.mixture)
    assert_allclose(
        reductions.responsibilities(components), expected.astype(float), atol=1e-11
    )
    assert_array_equal(reductions.labels(components), expected.argmax(axis=1))
    moments = reductions.moments(components)
    expected = unit.expected()
    moments = replace(
        moments,
        first=moments.first / size,
        second=moments.second / size / size,
        log_likelihood=expected.log_likelihood,
    )
    assert_same_moments(moments, expected, 1e-11)


@every_backend
@every_structure
@pytest.mark.parametrize("broad", [False, True], ids=["narrow", "with a broad one"])
def test_narrow_and_wide_apart(name, structure, broad, rng):
    """Widths of 0.001 at -1000, 0 and +1000: centring alone cannot save these."""
    if broad and structure == "tied":
        pytest.skip("tied components share one width")
    width = 0.001
    means = np.array([[-1000.0, 1000.0], [0.0, 0.0], [1000.0, -1000.0]])
    points = np.concatenate([mean + width * rng.normal(size=(30, 2)) for mean in means])
    matrices = np.tile(np.eye(2), (3, 1, 1)) + 0.3 * np.triu(rng.normal(size=(3, 2, 2)))
    matrices = matrices / width
    if broad:
        means = np.concatenate([means, [[200.0, 300.0]]])
        matrices = np.concatenate([matrices, [[[1e-3, 2e-4], [0.0, 2e-3]]]])
        points = np.concatenate([points, rng.normal(scale=700, size=(30, 2))])
    diagonals = np.diagonal(matrices, axis1=1, axis2=2)
    factors = {
        "full": matrices,
        "tied": matrices[0],
        "diag": diagonals,
        "spherical": diagonals[:, 0],
    }[structure].copy()
    weights = np.full(len(means), 1 / len(means))
    offsets = reference.offsets_of(structure, weights, means, factors)
    case = Case(points, None, structure, offsets, means, factors)
    exact = reference.exact_log_density(points, *case.mixture)
    for frame in (PLAIN, case.frame()):
        reductions, components = case.reductions(name, frame), case.components()
        found = reductions.log_density(components).numpy()
        near = np.abs(exact) < 1000
        assert near.sum() >= 90
        assert_allclose(found[near], exact[near], rtol=0, atol=1e-7)
        assert_allclose(found, exact, rtol=1e-12, atol=1e-7)
        assert_same_moments(reductions.moments(components), case.expected(), 1e-7)


@every_backend
def test_float32_is_summed_in_float64(name, device, rng):
    """With one component the mass is the sum of the weights, whatever their number."""
    size = {"n_samples": 300_001, "n_components": 1}
    case = make_case(rng, "full", np.float32, **size)
    reductions = case.reductions(name, device=device)
    moments = reductions.moments(case.components(device))
    expected = case.sample_weight.sum(dtype=np.float64)
    assert float(moments.mass[0]) == pytest.approx(expected, rel=3e-7)


@every_backend
@every_structure
@pytest.mark.parametrize("width", [0.1, 0.012, 0.001])
def test_narrow_in_float32(name, structure, width, rng):
    """Narrow components beside the origin keep the digits that float32 has."""
    unit = make_case(rng, structure, np.float32, weighted=False)
    means = rng.uniform(-1, 1, size=(5, 2))
    points = means[rng.integers(5, size=300)] + width * rng.normal(size=(300, 2))
    case = replace(
        unit,
        points=points.astype(np.float32),
        means=means,
        factors=unit.factors / width,
        offsets=unit.offsets - 2 * np.log(width),
    )
    found = case.reductions(name, case.frame()).log_density(case.components())
    expected = reference.log_density(case.points, *case.mixture)
    near = expected > expected.max() - 15
    assert near.sum() > 100
    assert_allclose(found[near], expected[near].astype(float), rtol=0, atol=2e-3)


@needs_compiled
@pytest.mark.parametrize("structure", ["full", "tied"])
def test_few_samples_in_float32(structure, rng):
    """Directions without variance are none of its rounding."""
    case = make_case(rng, structure, np.float32, n_samples=60, n_features=24)
    wide = replace(
        case,
        points=case.points.astype(np.float64),
        sample_weight=case.sample_weight.astype(np.float64),
    )
    found, expected = (
        one.reductions("native", one.frame()).moments(one.components())
        for one in (case, wide)
    )
    for name in ("mass", "first", "second"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.log_likelihood == expected.log_likelihood


@needs_compiled
def test_fits_of_few_samples_in_float32(rng):
    """They converge as those in float64, and where these do."""
    X = rng.normal(size=(100, 64)) + 3 * rng.integers(0, 3, size=(100, 1))
    X = X.astype(np.float32)
    narrow, wide = (
        KeOpsGaussianMixture(2, random_state=0, backend="native").fit(points)
        for points in (X, X.astype(np.float64))
    )
    assert narrow.n_iter_ == wide.n_iter_ < 10
    assert narrow.cost_ == pytest.approx(wide.cost_, abs=1e-4)
