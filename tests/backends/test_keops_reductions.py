"""What KeOps sums, and what it cannot."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model._parameters import Components, Frame
from sklearn_keops_gmm.backends._keops import _runtime as runtime
from sklearn_keops_gmm.backends._keops._formulas import LAYOUTS
from sklearn_keops_gmm.backends._keops._reductions import KeOpsReductions
from tests import reference
from tests.backends.cases import (
    Case,
    assert_same_moments,
    frame_of,
    make_case,
)

pytestmark = pytest.mark.filterwarnings("ignore:KeOps compiles:UserWarning")


def answer(case):
    """Return KeOps' sums over a case."""
    return case.reductions("keops").moments(case.components())


def test_narrow_components_far_apart(rng):
    """Widths of 0.001 at -1000, 0 and 1000, against rational arithmetic."""
    means = np.array([[-1000.0, 1000.0], [0.0, 0.0], [1000.0, -1000.0]])
    factors = np.eye(2) + 0.3 * np.triu(rng.normal(size=(3, 2, 2)))
    factors = factors / 0.001
    weights = np.array([0.2, 0.3, 0.5])
    offsets = reference.offsets_of("full", weights, means, factors)
    points = np.concatenate([mean + 0.001 * rng.normal(size=(20, 2)) for mean in means])
    case = Case(points, None, "full", offsets, means, factors)
    found = case.reductions("keops").log_density(case.components())
    exact = reference.exact_log_density(points, *case.mixture)
    assert_allclose(found, exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dead", [[0], [1, 3]])
def test_dead_components_and_weightless_samples(dead, rng):
    case = make_case(rng, "full", np.float64)
    case.offsets[dead] = -np.inf
    found = answer(case)
    assert_same_moments(found, case.expected(), 1e-12)
    assert_array_equal(found.mass[dead], 0)


def test_samples_without_density(rng):
    """With no component alive, nothing has a share and nothing is NaN."""
    case = make_case(rng, "full", np.float64)
    case.offsets[:] = -np.inf
    reductions, components = case.reductions("keops"), case.components()
    assert_array_equal(reductions.log_density(components), -np.inf)
    assert_array_equal(reductions.responsibilities(components), 0)
    moments = reductions.moments(components)
    assert_array_equal(moments.mass, 0)
    assert_array_equal(moments.second, 0)
    assert moments.log_likelihood == -np.inf


def test_sums_in_parts(monkeypatch, rng):
    """On CUDA, samples are summed some at a time."""
    case = make_case(rng, "full", np.float64)
    monkeypatch.setattr(KeOpsReductions, "_rows_per_sum", lambda self, pairs: 77)
    assert_same_moments(answer(case), case.expected(), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "diag"])
def test_float32(structure, rng):
    """Far from the origin: the frame and the rounded means cost no digits."""
    centre = np.array([1e4, -3e4])
    case = make_case(rng, structure, np.float32, n_samples=20_000, centre=centre)
    frame = Frame(torch.tensor(centre + 0.1), 3.0)
    found = case.reductions("keops", frame).moments(case.components())
    assert_same_moments(found, case.expected(), 2e-6)


@pytest.mark.slow
def test_many_features(rng):
    """64 features: 4,225 sums for each component, on the stack of a thread."""
    n_features = 64
    means = rng.normal(size=(3, n_features))
    factors = np.eye(n_features) + 0.05 * rng.normal(size=(3, n_features, n_features))
    offsets = reference.offsets_of("full", np.full(3, 1 / 3), means, factors)
    points = rng.normal(scale=1.5, size=(200, n_features))
    case = Case(points, None, "full", offsets, means, factors)
    frame = Frame(torch.tensor(means[0]), 2.0)
    found = case.reductions("keops", frame).moments(case.components())
    assert_same_moments(found, case.expected(), 1e-11)


def test_too_many_features(rng):
    case = make_case(rng, "tied", np.float64, n_samples=3, n_features=200)
    reductions = case.reductions("keops", frame_of(200))
    with pytest.raises(ValueError, match=r"200 features.*backend='torch'"):
        reductions.moments(case.components())


def test_no_cuda():
    points = torch.zeros(3, 2, dtype=torch.float64, device="meta")
    with pytest.raises(RuntimeError, match=r"no CUDA.*on meta.*backend='torch'"):
        KeOpsReductions(points, None, frame_of(2))


@pytest.mark.parametrize(("structure", "most"), [("tied", 110), ("diag", 6143)])
def test_components_that_no_block_of_a_gpu_holds(structure, most, monkeypatch):
    """KeOps would divide by their number, zero, and end the process."""
    monkeypatch.setattr(runtime, "_has_cuda", lambda: True)
    for n_features in (most, most + 1):
        points = torch.zeros(3, n_features, device="meta")
        frame = frame_of(n_features).to(points.device)
        reductions = KeOpsReductions(points, None, frame)
        if n_features == most:
            reductions._check_shared_memory(LAYOUTS[structure].kernel)
    shape = reference.shape_of_factors(structure, 2, n_features)
    arrays = (torch.zeros(s, device="meta") for s in (2, (2, n_features), shape))
    with pytest.raises(ValueError, match=rf"{n_features} features on a GPU.*'torch'"):
        reductions.log_density(Components(structure, *arrays))
