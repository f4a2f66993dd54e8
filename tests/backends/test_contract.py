"""One contract for every backend, covariance structure and dtype."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm.backends import get_backend
from tests import reference
from tests.backends.cases import (
    Case,
    assert_same_answers,
    assert_same_moments,
    every_backend,
    every_backend_but_keops,
    every_dtype,
    every_structure,
    frame_of,
    make_case,
    tolerance,
)


def test_keops_smoke(rng):
    """The part of the contract that runs where only the fast tests do."""
    case = make_case(rng, "full", np.float64)
    found = case.reductions("keops").log_density(case.components())
    assert_allclose(
        found, reference.log_density(case.points, *case.mixture), atol=1e-10
    )


@every_backend
@every_structure
@every_dtype
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.fast(36)
def test_reference(name, structure, dtype, weighted, device, rng):
    case = make_case(rng, structure, dtype, weighted=weighted)
    assert_same_answers(case, name, tolerance(dtype), device=device)


@every_backend
@every_structure
@every_dtype
def test_own_frame(name, structure, dtype, rng):
    case = make_case(rng, structure, dtype)
    assert_same_answers(case, name, tolerance(dtype), case.frame())


@every_backend_but_keops
@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 3, 6, 40])
@pytest.mark.fast(24)
def test_other_dimensions(name, structure, dtype, n_features, rng):
    case = make_case(rng, structure, dtype, n_features=n_features)
    assert_same_answers(case, name, 3 * tolerance(dtype), frame_of(n_features))


@every_backend
@every_structure
@pytest.mark.parametrize(
    ("n_samples", "n_components"),
    [(1, 1), (1, 4), (300, 1), (2, 7), (5003, 3), (40, 131)],
)
@pytest.mark.fast(24)
def test_sizes(name, structure, n_samples, n_components, rng):
    sizes = {"n_samples": n_samples, "n_components": n_components}
    case = make_case(rng, structure, np.float64, weighted=False, **sizes)
    assert_same_answers(case, name, tolerance(np.float64))


@every_backend
@every_structure
@every_dtype
@pytest.mark.parametrize("dead", [[0], [2], [0, 1, 3, 4]])
@pytest.mark.fast(24)
def test_dead_components(name, structure, dtype, dead, rng):
    """A log-weight of -inf takes a component out, and poisons nothing."""
    case = make_case(rng, structure, dtype)
    offsets = case.offsets.copy()
    offsets[dead] = -np.inf
    case = replace(case, offsets=offsets)
    assert_same_answers(case, name, tolerance(dtype))
    moments = case.reductions(name).moments(case.components())
    assert_array_equal(moments.mass[dead], 0)
    assert_array_equal(moments.first[dead], 0)
    assert not np.isin(case.reductions(name).labels(case.components()), dead).any()


@every_backend_but_keops
@every_dtype
@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize(("n_samples", "n_features"), [(10, 52), (6, 8), (40, 52)])
@pytest.mark.slow
def test_few_samples_for_many_features(
    name, dtype, structure, n_samples, n_features, rng
):
    """Covariances that only `reg_covar` keeps from being singular."""
    points = rng.normal(size=(n_samples, n_features)).astype(dtype)
    wide = points.astype(np.float64)
    means = np.stack([wide.mean(axis=0), wide[::2].mean(axis=0)])
    covariance = np.cov(wide.T) + 1e-6 * np.eye(n_features)
    factor = np.linalg.inv(np.linalg.cholesky(covariance)).T
    factors = np.stack([factor, 0.9 * factor]) if structure == "full" else factor
    weights = np.full(2, 0.5)
    offsets = reference.offsets_of(structure, weights, means, factors)
    case = Case(points, None, structure, offsets, means, factors)
    found = case.reductions(name, case.frame()).log_density(case.components())
    expected = reference.exact_log_density(points, *case.mixture)
    atol = {np.float64: 1e-11, np.float32: 3e-4}[dtype]
    assert_allclose(found, expected, rtol=0, atol=atol)


@every_backend_but_keops
@every_structure
@every_dtype
@pytest.mark.parametrize("part", ["offsets", "means", "factors"])
def test_a_component_of_nan_hides_nowhere(name, structure, dtype, part, rng):
    """No result looks like one; KeOps would leave such terms out."""
    case = make_case(rng, structure, dtype)
    getattr(case, part)[-1] = np.nan
    reductions, components = case.reductions(name), case.components()
    assert torch.isnan(reductions.log_density(components)).all()
    assert torch.isnan(reductions.responsibilities(components)).all()
    moments = reductions.moments(components)
    assert np.isnan(moments.log_likelihood)
    assert torch.isnan(moments.mass).all()


@every_backend
@every_structure
@every_dtype
def test_all_weight_on_few_samples(name, structure, dtype, rng):
    """Samples of weight zero count for nothing in the moments."""
    case = make_case(rng, structure, dtype)
    kept = rng.permutation(len(case.points)) < 20
    few = replace(case, sample_weight=kept.astype(dtype))
    alone = replace(case, points=case.points[kept], sample_weight=None)
    assert_same_moments(
        few.reductions(name).moments(few.components()),
        alone.reductions(name).moments(alone.components()),
        tolerance(dtype),
    )


@every_backend
@every_structure
@every_dtype
def test_moments_add_up(name, structure, dtype, rng):
    case = make_case(rng, structure, dtype)
    frame = case.frame()
    parts = []
    for part in (slice(0, 1), slice(1, 200), slice(200, None)):
        points, weights = case.points[part], case.sample_weight[part]
        piece = replace(case, points=points, sample_weight=weights)
        parts.append(piece.reductions(name, frame).moments(piece.components()))
    whole = case.reductions(name, frame).moments(case.components())
    assert_same_moments(parts[0] + parts[1] + parts[2], whole, tolerance(dtype))


@every_backend_but_keops
@every_structure
@every_dtype
@pytest.mark.fast(16)
def test_many_samples(name, structure, dtype, device, rng):
    """More than a tile for the cache of a core has, which a GPU takes at once."""
    case = make_case(rng, structure, dtype, n_samples=20_003)
    found = case.reductions(name, device=device).moments(case.components(device))
    assert_same_moments(found, case.expected(), tolerance(dtype))


@every_backend
@every_structure
@every_dtype
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.fast(32)
def test_some_rows(name, structure, dtype, weighted, device, rng):
    """Reductions of any rows, in any order, in the frame and coordinates of all."""
    case = make_case(rng, structure, dtype, weighted=weighted)
    rows = rng.permutation(len(case.points))[:100]
    weights = case.sample_weight[rows] if weighted else None
    part = replace(case, points=case.points[rows], sample_weight=weights)
    whole = case.reductions(name, case.frame(), device)
    assert whole.n_samples == len(case.points)
    some = whole.of_rows(torch.from_numpy(rows))
    assert some.n_samples == 100
    found = some.moments(case.components(device))
    assert_same_moments(found, part.expected(), tolerance(dtype))
    density = some.log_density(case.components(device)).cpu()
    expected = whole.log_density(case.components(device)).cpu()[rows]
    assert_allclose(density, expected, rtol=tolerance(dtype))


@every_backend
@every_structure
@every_dtype
@pytest.mark.fast(16)
def test_factories(name, structure, dtype, device, rng):
    """Other points, weighted or not, in another process: none of these are sent."""
    case = make_case(rng, structure, dtype, n_samples=5000, centre=3.0)
    sent = pickle.dumps(case.reductions(name, case.frame()).factory(structure))
    assert len(sent) < 5000
    factory = pickle.loads(sent)
    for weighted in (False, True):
        drawn = make_case(rng, structure, dtype, weighted=weighted, centre=2.0)
        other = replace(case, points=drawn.points, sample_weight=drawn.sample_weight)
        weights = None
        if weighted:
            weights = torch.tensor(other.sample_weight, device=device)
        made = factory(torch.tensor(other.points, device=device), weights)
        assert made.n_samples == len(other.points)
        found = made.moments(case.components(device))
        assert_same_moments(found, other.expected(), 5 * tolerance(dtype))
        expected = reference.log_density(other.points, *case.mixture)
        found = made.log_density(case.components(device)).cpu()
        assert_allclose(found, expected.astype(float), rtol=5 * tolerance(dtype))


@every_backend
@every_structure
@every_dtype
def test_labels_of_equals(name, structure, dtype, rng):
    """Of components that are equally likely, one of those is chosen."""
    points = rng.integers(-8, 9, size=(517, 2)).astype(dtype)
    means = rng.integers(-4, 5, size=(3, 2))[[0, 1, 2, 0, 1, 2]].astype(float)
    factors = {
        "full": np.tile([[1.0, 2.0], [0.0, -1.0]], (6, 1, 1)),
        "tied": np.array([[1.0, 2.0], [0.0, -1.0]]),
        "diag": np.tile([2.0, 1.0], (6, 1)),
        "spherical": np.full(6, 2.0),
    }[structure]
    case = Case(points, None, structure, np.zeros(6), means, factors)
    terms = reference.pair_terms(points, *case.mixture)
    labels = case.reductions(name).labels(case.components())
    chosen = np.take_along_axis(terms, np.asarray(labels)[:, None], axis=1)[:, 0]
    # The terms are whole and half numbers: a different one is at least 0.5 away.
    assert_allclose(np.float64(chosen), np.float64(terms.max(axis=1)), atol=0.1)


@every_backend_but_keops
@every_dtype
def test_threads_change_nothing(name, dtype, many_threads, rng):
    case = make_case(rng, "full", dtype, n_samples=40_003)
    found = [case.reductions(name).moments(case.components()) for _ in range(3)]
    torch.set_num_threads(1)
    found.append(case.reductions(name).moments(case.components()))
    for moments in found[1:]:
        assert_same_moments(moments, found[0], 0.0)
    assert_same_answers(case, name, tolerance(dtype))


@every_backend
@every_structure
def test_reductions_can_be_asked_again(name, structure, rng):
    """One binding serves any components, in any number and any order."""
    case = make_case(rng, structure, np.float64)
    other = replace(
        make_case(rng, structure, np.float64, n_components=9), points=case.points
    )
    reductions = case.reductions(name)
    first = reductions.log_density(case.components())
    for asked in (other, case, other):
        expected = reference.log_density(case.points, *asked.mixture)
        found = reductions.log_density(asked.components())
        assert_allclose(found, expected, rtol=1e-11)
    assert_allclose(
        first, reference.log_density(case.points, *case.mixture), rtol=1e-11
    )


@every_backend
@every_structure
@every_dtype
def test_moments_can_be_asked_again(name, structure, dtype, rng):
    """What is kept from one step to the next helps whether it is near or far."""
    case = make_case(rng, structure, dtype)
    reductions = case.reductions(name)
    near = replace(case, means=case.means + 1e-3)
    far = {np.float64: 3000, np.float32: 100}[dtype]
    lighter = replace(case, offsets=case.offsets - far)
    heavier = replace(case, offsets=case.offsets + far)
    nowhere = replace(case, offsets=np.full(5, -np.inf))
    apart = replace(make_case(rng, structure, dtype), points=case.points)
    for asked in (case, near, apart, lighter, heavier, nowhere, case, near):
        moments = reductions.moments(asked.components())
        if asked is nowhere:
            assert_array_equal(moments.mass, 0)
            continue
        sums = reference.moments(case.points, case.sample_weight, *asked.mixture)
        assert_same_moments(moments, sums, 5 * tolerance(dtype))


@every_backend
def test_inputs_are_left_alone(name, rng):
    case = make_case(rng, "full", np.float64)
    points, weights = torch.tensor(case.points), torch.tensor(case.sample_weight)
    components = case.components()
    reductions = get_backend(name)(points, weights, case.frame())
    reductions.moments(components)
    reductions.log_density(components)
    assert_array_equal(points, case.points)
    assert_array_equal(weights, case.sample_weight)
    assert_array_equal(components.means, case.means)
    assert_array_equal(components.factors, case.factors)
    assert_array_equal(components.offsets, case.offsets)
