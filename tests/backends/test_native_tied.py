"""Tied covariances in the compiled loops: whitened samples, and one pooled moment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm.backends._native import _reductions
from tests import reference
from tests.backends.cases import (
    Case,
    assert_same_answers,
    assert_same_moments,
    every_dtype,
    frame_of,
    make_case,
    tolerance,
)
from tests.common import needs_compiled

pytestmark = needs_compiled


def tied_case(rng, dtype, means, *, n_samples=200, spread=1.0, weighted=True):
    """Return samples about means, (M, D), and components that share a factor."""
    n_components, n_features = means.shape
    factor = np.eye(n_features) + 0.3 * np.triu(rng.normal(size=2 * [n_features]), 1)
    noise = spread * rng.normal(size=(n_samples, n_features))
    which = rng.integers(n_components, size=n_samples)
    points = means[which] + np.linalg.solve(factor.T, noise.T).T
    offsets = reference.offsets_of(
        "tied", rng.dirichlet(np.ones(n_components)), means, factor
    )
    sample_weight = rng.uniform(0, 2, n_samples).astype(dtype) if weighted else None
    return Case(points.astype(dtype), sample_weight, "tied", offsets, means, factor)


def moments_of(case):
    """Return the moments as the compiled loops find them."""
    reductions = case.reductions("native", frame_of(case.points.shape[1]))
    return reductions.moments(case.components())


def clusters(rng, distance, n_clusters, in_each, n_features):
    """Return means in clusters one wide, that far apart."""
    centres = rng.normal(size=(n_clusters, 1, n_features))
    centres *= distance / np.sqrt(2 * n_features)
    steps = rng.normal(size=(n_clusters, in_each, n_features))
    return (centres + steps / np.sqrt(n_features)).reshape(-1, n_features)


@pytest.mark.parametrize("n_features", [5, 9, 20])
@pytest.mark.parametrize("in_each", [1, 3])
def test_tight_clusters_far_apart(module, n_features, in_each, rng):
    """A million widths apart: products about one point would lose all digits."""
    case = tied_case(rng, np.float64, clusters(rng, 1e6, 4, in_each, n_features))
    found = moments_of(case)
    # The coordinates themselves are rounded to 1e-10 of a width.
    assert_same_moments(found, case.expected(), 1e-9)


@every_dtype
@pytest.mark.parametrize("distance", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("n_features", [5, 16, 33])
@pytest.mark.fast(18)
def test_all_distances(module, dtype, distance, n_features, rng):
    """From one anchor for all components to one for each."""
    means = clusters(rng, distance, 7, 3, n_features)
    case = tied_case(rng, dtype, means, spread=1.5)
    rtol = distance * tolerance(dtype) / (10 if dtype is np.float32 else 1)
    assert_same_moments(
        moments_of(case),
        case.expected(),
        max(rtol, 5 * tolerance(dtype)),
    )


def test_samples_between_far_components(module, rng):
    """Each of two has a share in them, and both are far away."""
    means = np.array([[-300.0], [300.0]]) * np.eye(6)[:1]
    case = tied_case(rng, np.float64, np.concatenate([means, means[:, ::-1]]))
    between = np.zeros((50, 6))
    between[:, 1:5] = rng.normal(size=(50, 4))
    offsets = np.log([0.3, 0.3, 0.2, 0.2])
    case = replace(case, factors=np.eye(6), offsets=offsets, sample_weight=None)
    case = replace(case, points=np.concatenate([case.points, between]))
    found = moments_of(case)
    assert_same_moments(found, case.expected(), 20 * tolerance(np.float64))


def test_sums_of_anchors_are_bounded(module, rng):
    """Thousands of components, none near another, share fewer anchors."""
    means = 1e3 * rng.normal(size=(3000, 5))
    case = tied_case(rng, np.float64, means, n_samples=40)
    frame = case.frame()
    mixture = _reductions._packed(case.components(), frame, torch.float64)
    assert module.n_sums(mixture) < 2**23
    found = case.reductions("native", frame).moments(case.components())
    assert_same_moments(found, case.expected(), 1e-9)


@every_dtype
@pytest.mark.parametrize("rank", [1, 4])
def test_factors_without_an_inverse(module, dtype, rank, rng):
    """Precisions that leave directions free."""
    case = make_case(rng, "tied", dtype, n_features=6)
    factors = rng.normal(size=(6, rank)) @ rng.normal(size=(rank, 6))
    case = replace(case, factors=factors)
    assert_same_answers(case, "native", 20 * tolerance(dtype), frame_of(6))


@every_dtype
@pytest.mark.parametrize("place", [1e30, 1e200])
def test_means_beyond_all_numbers(module, dtype, place, rng):
    """Of components that no sample belongs to: they do no harm to others."""
    case = make_case(rng, "tied", dtype, n_features=7, n_components=4)
    more = replace(
        case,
        means=np.concatenate([case.means, np.full((2, 7), place)]),
        offsets=np.append(case.offsets, [0.0, -1.0]),
    )
    expected = moments_of(case)
    found = moments_of(more)
    assert_allclose(found.mass, np.append(expected.mass, [0, 0]), rtol=1e-12)
    assert_allclose(found.first[:4], expected.first, rtol=1e-6, atol=1e-9)
    assert_allclose(found.second, expected.second, rtol=1e-6)
    assert not found.first[4:].any()


def test_features_with_nothing_in_common(module, rng):
    """A far row has its say in its own features alone, in float32 too."""
    case = make_case(rng, "tied", np.float32, n_features=6, weighted=False)
    case.points[7] = 1e7 * np.eye(6)[0]
    found = moments_of(case)
    second = case.expected().second.astype(float)
    assert_allclose(found.second[1:, 1:], second[1:, 1:], rtol=1e-4)
    assert_allclose(found.second[0], second[0], rtol=1e-4)
