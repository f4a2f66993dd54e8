"""One contract for every backend, covariance structure and dtype."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._parameters import Components, Frame
from sklearn_keops_gmm.backends import get_backend
from tests import reference
from tests.data import BACKENDS, DENSE_BACKENDS, needs_compiled
from tests.reference import STRUCTURES

DTYPES = [np.float64, np.float32]
PLAIN = Frame(torch.zeros(2, dtype=torch.float64))

every_backend = pytest.mark.parametrize("name", BACKENDS)
# KeOps compiles for each number of features, and has threads of its own.
every_backend_but_keops = pytest.mark.parametrize("name", DENSE_BACKENDS)
every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda kind: kind.__name__)


@dataclass(frozen=True)
class Case:
    """Points, their weights and a mixture, in numpy."""

    points: np.ndarray
    sample_weight: np.ndarray | None
    structure: str
    offsets: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    @property
    def mixture(self):
        return self.structure, self.offsets, self.means, self.factors

    def components(self, device="cpu"):
        arrays = (self.offsets, self.means, self.factors)
        return Components(
            self.structure, *(torch.tensor(array, device=device) for array in arrays)
        )

    def reductions(self, name, frame=PLAIN, device="cpu"):
        weights = self.sample_weight
        return get_backend(name)(
            torch.tensor(self.points, device=device),
            None if weights is None else torch.tensor(weights, device=device),
            Frame(frame.centre.to(device), frame.scale),
        )

    def frame(self):
        """The points' own frame: their mean and the size of their spread."""
        points = self.points.astype(np.float64)
        centre = points.mean(axis=0)
        return Frame(torch.tensor(centre), float(np.abs(points - centre).max()))


def shape_of_factors(structure, n_components, n_features):
    return {
        "full": (n_components, n_features, n_features),
        "tied": (n_features, n_features),
        "diag": (n_components, n_features),
        "spherical": (n_components,),
    }[structure]


def make_case(
    rng,
    structure,
    dtype,
    *,
    n_samples=517,
    n_components=5,
    n_features=2,
    weighted=True,
    centre=0.0,
    width=1.0,
):
    """Draw a case: square factors of any sign, weights with zeros, one outlier."""
    shape = shape_of_factors(structure, n_components, n_features)
    factors = rng.choice([-1, 1], size=shape) * rng.uniform(0.5, 2.0, size=shape)
    if structure in ("full", "tied"):
        factors = rng.normal(size=shape) + factors * np.eye(n_features)
    factors = factors / width
    means = centre + width * rng.normal(scale=2, size=(n_components, n_features))
    points = centre + width * rng.normal(scale=3, size=(n_samples, n_features))
    points[-1] = centre + 30 * width
    weights = rng.dirichlet(np.ones(n_components))
    offsets = reference.offsets_of(structure, weights, means, factors)
    sample_weight = None
    if weighted:
        sample_weight = rng.uniform(0, 2, size=n_samples).astype(dtype)
        sample_weight[::5] = 0
    return Case(points.astype(dtype), sample_weight, structure, offsets, means, factors)


def tolerance(dtype):
    return {np.float64: 1e-12, np.float32: 1e-5}[dtype]


def assert_same_moments(found, expected, rtol):
    """Compare sums relative to the largest entry of each, as rounding scales."""
    for name in ("mass", "first", "second"):
        have, want = getattr(found, name), np.asarray(getattr(expected, name), float)
        assert have.dtype == torch.float64
        have = have.cpu().numpy()
        assert have.shape == want.shape
        assert_allclose(
            have, want, rtol=0, atol=rtol * np.abs(want).max(), err_msg=name
        )
    assert isinstance(found.log_likelihood, float)
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=rtol)


def assert_same_answers(case, name, rtol, frame=PLAIN, device="cpu"):
    """Hold all four reductions to the reference."""
    reductions = case.reductions(name, frame, device)
    components = case.components(device)
    dtype = torch.from_numpy(case.points).dtype
    points = case.points

    log_density = reductions.log_density(components)
    assert log_density.dtype == dtype
    assert log_density.device.type == torch.device(device).type
    assert log_density.shape == (len(points),)
    expected = reference.log_density(points, *case.mixture)
    scale = np.maximum(1, np.abs(expected))
    assert_allclose((log_density.cpu().numpy() - expected) / scale, 0, atol=rtol)

    pulls = reductions.responsibilities(components)
    assert pulls.dtype == dtype
    expected = reference.responsibilities(points, *case.mixture)
    assert_allclose(pulls.cpu().numpy(), expected.astype(float), rtol=0, atol=rtol * 20)
    assert_allclose(pulls.sum(dim=1).cpu(), 1, atol=4 * torch.finfo(dtype).eps)

    labels = reductions.labels(components)
    assert labels.dtype == torch.int64
    labels = labels.cpu().numpy()
    assert labels.shape == (len(points),)
    best = expected.max(axis=1)
    chosen = expected[np.arange(len(points)), labels]
    assert_allclose(chosen.astype(float), best.astype(float), rtol=0, atol=rtol * 20)

    sums = reference.moments(points, case.sample_weight, *case.mixture)
    assert_same_moments(reductions.moments(components), sums, rtol * 5)


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
def test_other_dimensions(name, structure, dtype, n_features, rng):
    case = make_case(rng, structure, dtype, n_features=n_features)
    frame = Frame(torch.zeros(n_features, dtype=torch.float64))
    assert_same_answers(case, name, 3 * tolerance(dtype), frame)


@every_backend
@every_structure
@pytest.mark.parametrize(
    ("n_samples", "n_components"),
    [(1, 1), (1, 4), (300, 1), (2, 7), (5003, 3), (40, 131)],
)
def test_sizes(name, structure, n_samples, n_components, rng):
    sizes = {"n_samples": n_samples, "n_components": n_components}
    case = make_case(rng, structure, np.float64, weighted=False, **sizes)
    assert_same_answers(case, name, tolerance(np.float64))


@every_backend
@every_structure
@every_dtype
@pytest.mark.parametrize("dead", [[0], [2], [0, 1, 3, 4]])
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


@every_backend
@every_structure
@every_dtype
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
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
    expected = reference.moments(part.points, weights, *case.mixture)
    assert_same_moments(found, expected, tolerance(dtype))
    density = some.log_density(case.components(device)).cpu()
    expected = whole.log_density(case.components(device)).cpu()[rows]
    assert_allclose(density, expected, rtol=tolerance(dtype))


@every_backend
@every_structure
@every_dtype
def test_recipes(name, structure, dtype, device, rng):
    """Other points, weighted or not, in another process: none of these are sent."""
    case = make_case(rng, structure, dtype, n_samples=5000, centre=3.0)
    sent = pickle.dumps(case.reductions(name, case.frame()).recipe(structure))
    assert len(sent) < 5000
    recipe = pickle.loads(sent)
    for weighted in (False, True):
        drawn = make_case(rng, structure, dtype, weighted=weighted, centre=2.0)
        other = replace(case, points=drawn.points, sample_weight=drawn.sample_weight)
        weights = None
        if weighted:
            weights = torch.tensor(other.sample_weight, device=device)
        made = recipe(torch.tensor(other.points, device=device), weights)
        assert made.n_samples == len(other.points)
        expected = reference.moments(other.points, other.sample_weight, *case.mixture)
        found = made.moments(case.components(device))
        assert_same_moments(found, expected, 5 * tolerance(dtype))
        expected = reference.log_density(other.points, *case.mixture)
        found = made.log_density(case.components(device)).cpu()
        assert_allclose(found, expected.astype(float), rtol=5 * tolerance(dtype))


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
    expected = reference.moments(unit.points, unit.sample_weight, *unit.mixture)
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
        sums = reference.moments(points, None, *case.mixture)
        assert_same_moments(reductions.moments(components), sums, 1e-7)


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


@every_backend
def test_float32_is_summed_in_float64(name, rng):
    """With one component the mass is the sum of the weights, whatever their number."""
    size = {"n_samples": 300_001, "n_components": 1}
    case = make_case(rng, "full", np.float32, **size)
    moments = case.reductions(name).moments(case.components())
    expected = case.sample_weight.sum(dtype=np.float64)
    assert float(moments.mass[0]) == pytest.approx(expected, rel=3e-7)


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


PEAK_MEMORY = """
import re, sys, torch
from sklearn import set_config
from sklearn_keops_gmm._parameters import Components, Frame
from sklearn_keops_gmm.backends import get_backend

def mebibytes(field):
    status = open("/proc/self/status").read()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) / 1024

name, n_components, n_features, n_samples, working_memory = (
    sys.argv[1], *map(int, sys.argv[2:])
)
set_config(working_memory=working_memory)

def use(n_samples):
    float64 = {"dtype": torch.float64}
    points = torch.randn(n_samples, n_features, **float64)
    offsets = torch.zeros(n_components, **float64)
    means = torch.randn(n_components, n_features, **float64)
    factors = torch.eye(n_features, **float64).repeat(n_components, 1, 1)
    components = Components("full", offsets, means, factors)
    frame = Frame(torch.zeros(n_features, **float64))
    reductions = get_backend(name)(points, None, frame)
    reductions.moments(components)
    reductions.log_density(components)
    reductions.labels(components)

use(100)
open("/proc/self/clear_refs", "w").write("5")
before = mebibytes("VmRSS")
use(n_samples)
print(mebibytes("VmHWM") - before)
"""


@every_backend
def test_pairs_are_never_held(name):
    """200,000 x 256 pairs are 391 MiB; far less than that is ever in memory."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is read from Linux's /proc")
    assert peak_mebibytes(name, n_components=256, n_features=2) < 150


def test_working_memory_is_obeyed():
    """200,000 samples of 60 features are 92 MiB: kept in coordinates if they may be."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is read from Linux's /proc")
    given = {"name": "torch", "n_components": 8, "n_features": 60}
    assert peak_mebibytes(**given) > 2 * 92
    assert peak_mebibytes(**given, working_memory=8) < 92 + 25


@needs_compiled
def test_many_components_take_little():
    """2000 x 100,000 pairs are 1526 MiB; each thread holds some 32 samples of them."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is read from Linux's /proc")
    sizes = {"n_components": 100_000, "n_features": 1, "n_samples": 2000}
    assert peak_mebibytes("native", **sizes, OMP_NUM_THREADS="1") < 60


def peak_mebibytes(
    name, n_components, n_features, n_samples=200_000, working_memory=1024, **env
):
    """Return what a process needs for so many samples more than for 100."""
    numbers = map(str, (n_components, n_features, n_samples, working_memory))
    command = [sys.executable, "-c", PEAK_MEMORY, name, *numbers]
    # Else glibc learns from large arrays that are freed, and keeps the next ones.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), **env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
