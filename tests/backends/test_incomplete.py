"""Samples with missing features: every backend, held to a dense reference."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model._parameters import Components, Frame
from sklearn_keops_gmm.backends import (
    IncompleteBackend,
    get_backend,
    has_missing,
    suited_to,
)
from tests import missing, reference
from tests.backends.cases import (
    Case,
    assert_same_moments,
    every_backend,
    every_dtype,
    every_structure,
    tolerance,
)

WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


class Incomplete(Case):
    """A case whose points have NaN where a feature is missing."""

    def reductions(self, name, frame=None, device="cpu"):
        weights = self.sample_weight
        frame = self.frame() if frame is None else frame
        return IncompleteBackend(get_backend(name))(
            torch.tensor(self.points, device=device),
            None if weights is None else torch.tensor(weights, device=device),
            frame.to(torch.device(device)),
        )

    def expected(self):
        return missing.moments(self.points, self.sample_weight, *self.mixture)

    def frame(self):
        low = np.nan_to_num(self.points.astype(float), nan=np.inf).min(axis=0)
        return Frame(torch.tensor(np.minimum(low, 3.0)), 4.0)


def make_case(rng, structure, dtype, observed, *, n_components=3, weighted=False):
    """Draw a case in which rows have the features `observed`, (N, D) bool."""
    n_samples, n_features = observed.shape
    shape = reference.shape_of_factors(structure, n_components, n_features)
    factors = rng.choice([-1, 1], size=shape) * rng.uniform(0.7, 1.5, size=shape)
    if structure in ("full", "tied"):
        factors = np.eye(n_features) + 0.5 / np.sqrt(n_features) * factors
    means = 5 + rng.normal(scale=2, size=(n_components, n_features))
    points = 5 + rng.normal(scale=3, size=(n_samples, n_features))
    points[~observed] = np.nan
    weights = rng.dirichlet(np.ones(n_components))
    offsets = reference.offsets_of(structure, weights, means, factors)
    sample_weight = None
    if weighted:
        sample_weight = rng.uniform(0, 2, size=n_samples).astype(dtype)
        sample_weight[::5] = 0
    points = points.astype(dtype)
    return Incomplete(points, sample_weight, structure, offsets, means, factors)


def some_patterns(rng, n_samples, n_features, share=0.3):
    """Draw patterns of which none is empty."""
    observed = rng.random((n_samples, n_features)) > share
    observed[np.arange(n_samples), rng.integers(n_features, size=n_samples)] = True
    return observed


def assert_same_answers(case, name, rtol, device="cpu", frame=None):
    """Hold all reductions to the reference."""
    reductions, components = (
        case.reductions(name, frame, device),
        case.components(device),
    )
    terms, _, _ = missing.terms(case.points, *case.mixture)
    expected = reference.log_sum_exp(terms)
    dtype = torch.from_numpy(case.points).dtype

    found = reductions.log_density(components)
    assert (found.dtype, found.device.type) == (dtype, torch.device(device).type)
    scale = np.maximum(1, np.abs(expected))
    assert_allclose((found.cpu().numpy() - expected) / scale, 0, atol=rtol)

    shares = np.exp(terms - expected[:, None])
    found = reductions.responsibilities(components)
    assert (found.dtype, found.shape) == (dtype, shares.shape)
    assert_allclose(found.cpu(), shares, rtol=0, atol=20 * rtol)
    assert_allclose(found.sum(1).cpu(), 1, atol=4 * torch.finfo(dtype).eps)

    labels = reductions.labels(components)
    assert labels.dtype == torch.int64
    chosen = shares[np.arange(len(shares)), labels.cpu()]
    assert_allclose(chosen, shares.max(axis=1), rtol=0, atol=20 * rtol)

    moments = reductions.moments(components)
    assert_same_moments(moments, case.expected(), 5 * rtol)


@every_backend
@every_structure
@every_dtype
@WEIGHTED
@pytest.mark.fast(24)
def test_every_pattern(name, structure, dtype, weighted, device, rng):
    """Complete rows and empty ones among them, each pattern several times."""
    # KeOps compiles for each number of features and each dtype.
    n_features = 2 if name == "keops" else 4
    patterns = missing.all_patterns(n_features)
    observed = rng.permutation(np.tile(patterns, (48 // len(patterns), 1)))
    case = make_case(rng, structure, dtype, observed, weighted=weighted)
    assert_same_answers(case, name, tolerance(dtype), device)


@every_structure
@pytest.mark.parametrize("n_features", [1, 33, 70])
def test_other_dimensions(structure, n_features, rng):
    """Patterns of more features than one number has bits."""
    observed = some_patterns(rng, 40, n_features)
    case = make_case(rng, structure, np.float64, observed)
    assert_same_answers(case, "torch", tolerance(np.float64))


@every_structure
@pytest.mark.parametrize("counts", [(1,), (1, 2, 3), (1500, 1), (900, 30, 30, 1, 1, 1)])
@pytest.mark.slow
def test_sizes_of_patterns(structure, counts, rng):
    """Tiles of one pattern's rows, and tiles of many patterns."""
    patterns = missing.all_patterns(3)[1 : 1 + len(counts)]
    observed = np.repeat(patterns, counts, axis=0)
    case = make_case(rng, structure, np.float64, observed, n_components=7)
    assert_same_answers(case, "torch", tolerance(np.float64))


@every_backend
@every_structure
def test_complete_points(name, structure, rng):
    """A backend for points that miss nothing is the backend itself, bit for bit."""
    case = make_case(rng, structure, np.float64, np.ones((500, 2), dtype=bool))
    plain, points = get_backend(name), torch.tensor(case.points)
    assert suited_to(points, plain) is plain
    components = case.components()
    bound = plain(points, None, case.frame())
    for method in ("log_density", "responsibilities", "labels"):
        found = getattr(case.reductions(name), method)(components)
        assert_array_equal(found, getattr(bound, method)(components))


def test_what_is_missing():
    points = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    assert has_missing(points)
    assert not has_missing(points[1:])
    # The sum of float32 numbers that overflows is no NaN among them.
    assert not has_missing(torch.tensor([[3e38, 3e38], [-3e38, -3e38]]))


@every_structure
def test_dead_components(structure, rng):
    case = make_case(rng, structure, np.float64, some_patterns(rng, 60, 3))
    case.offsets[1] = -np.inf
    with np.errstate(invalid="ignore"):
        assert_same_answers(case, "torch", tolerance(np.float64))
    moments = case.reductions("torch").moments(case.components())
    assert_array_equal(moments.mass[1], 0)
    assert_array_equal(moments.first[1], 0)


@every_structure
@pytest.mark.parametrize("part", ["offsets", "means", "factors"])
def test_a_component_of_nan_hides_nowhere(structure, part, rng):
    case = make_case(rng, structure, np.float64, some_patterns(rng, 60, 3, 0.5))
    getattr(case, part)[-1] = np.nan
    moments = case.reductions("torch").moments(case.components())
    assert np.isnan(moments.log_likelihood)


@every_backend
@every_structure
def test_some_rows(name, structure, device, rng):
    case = make_case(
        rng, structure, np.float64, some_patterns(rng, 90, 2), weighted=True
    )
    rows = rng.permutation(90)[:40]
    part = replace(
        case, points=case.points[rows], sample_weight=case.sample_weight[rows]
    )
    some = case.reductions(name, device=device).of_rows(torch.from_numpy(rows))
    assert some.n_samples == 40
    found = some.moments(case.components(device))
    assert_same_moments(found, part.expected(), 5 * tolerance(np.float64))


@every_backend
@every_structure
def test_factories(name, structure, rng):
    """Other points, which may miss nothing, in another process."""
    case = make_case(rng, structure, np.float64, some_patterns(rng, 2000, 2))
    sent = pickle.dumps(case.reductions(name).factory(structure))
    assert len(sent) < 5000
    factory = pickle.loads(sent)
    for observed in (some_patterns(rng, 50, 2), np.ones((50, 2), dtype=bool)):
        points = make_case(rng, structure, np.float64, observed).points
        other = replace(case, points=points)
        found = factory(torch.tensor(points), None).moments(case.components())
        assert_same_moments(found, other.expected(), 5 * tolerance(np.float64))


@every_structure
def test_threads_change_nothing(structure, many_threads, rng):
    case = make_case(rng, structure, np.float64, some_patterns(rng, 9000, 5))
    reductions = case.reductions("torch")
    found = [reductions.moments(case.components()) for _ in range(2)]
    torch.set_num_threads(1)
    found.append(reductions.moments(case.components()))
    for moments in found[1:]:
        assert_same_moments(moments, found[0], 0.0)


@every_structure
def test_far_from_everything(structure, rng):
    """Where rounding hides which component is the nearest, and where all is zero."""
    observed = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]] * 3, dtype=bool)
    means = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    one = {
        "full": np.tile(np.eye(3), (2, 1, 1)),
        "tied": np.eye(3),
        "diag": np.ones((2, 3)),
        "spherical": np.ones(2),
    }[structure]
    points = np.repeat([1e9, -1e9, 1e200], 4)[:, None] * observed
    points[~observed] = np.nan
    offsets = reference.offsets_of(structure, np.array([0.5, 0.5]), means, one)
    case = Incomplete(points, None, structure, offsets, means, one)
    plain = Frame(torch.zeros(3, dtype=torch.float64))
    reductions = case.reductions("torch", plain)
    expected = np.repeat([1, 0, 1], 4)
    assert_array_equal(reductions.labels(case.components()), expected)
    shares = reductions.responsibilities(case.components())
    assert_array_equal(shares, np.eye(2)[expected])


def test_units_change_nothing(rng):
    """Densities are those of the original coordinates, whatever the frame."""
    case = make_case(rng, "full", np.float64, some_patterns(rng, 60, 3))
    small = replace(
        case,
        points=1e-120 * case.points,
        means=1e-120 * case.means,
        factors=1e120 * case.factors,
        offsets=case.offsets + 3 * np.log(1e120),
    )
    found = small.reductions("torch", Frame(torch.zeros(3).double(), 2.0**-398))
    density = found.log_density(small.components())
    n_observed = (~np.isnan(case.points)).sum(axis=1)
    expected = reference.log_sum_exp(missing.terms(case.points, *case.mixture)[0])
    assert_allclose(density, expected + n_observed * np.log(1e120), rtol=1e-12)


@every_structure
def test_entropy_of_what_is_missing(structure, rng):
    case = make_case(rng, structure, np.float64, some_patterns(rng, 60, 3))
    moments = case.reductions("torch").moments(case.components())
    expected = missing.entropy_of_missing(case.points, *case.mixture)
    assert moments.missing == pytest.approx(expected, rel=1e-12)


def test_a_structure_that_is_not_known(rng):
    case = make_case(rng, "full", np.float64, some_patterns(rng, 10, 3))
    odd = Components("odd", *(torch.tensor(array) for array in case.mixture[1:]))
    reductions = case.reductions("torch").of_rows(
        torch.from_numpy(np.flatnonzero(np.isnan(case.points).any(axis=1)))
    )
    with pytest.raises(ValueError, match=r"X has missing values, which .* 'odd'"):
        reductions.moments(odd)


@every_backend
@every_structure
@pytest.mark.fast(8)
def test_other_weights(name, structure, device, rng):
    observed = some_patterns(rng, 60, 2)
    case = make_case(rng, structure, np.float64, observed, weighted=True)
    reductions = case.reductions(name, device=device)
    components = case.components(device)
    before = reductions.moments(components).to(torch.device("cpu"))
    other = replace(case, sample_weight=rng.uniform(size=60))
    weights = torch.tensor(other.sample_weight, device=device)
    found = reductions.reweighted(weights).moments(components)
    assert_same_moments(found, other.expected(), 5 * tolerance(np.float64))
    assert_same_moments(reductions.moments(components), before, 0.0)
    own = torch.tensor(case.sample_weight, device=device)
    assert bool((reductions.sample_weight == own).all())
