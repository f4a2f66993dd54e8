"""Cases for backends, and the answers that they are held to."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm._model._parameters import Components, Frame
from sklearn_keops_gmm.backends import get_backend
from sklearn_keops_gmm.backends._native import _modules
from tests import reference
from tests.common import BACKENDS, DENSE_BACKENDS
from tests.reference import STRUCTURES

DTYPES = [np.float64, np.float32]
# Of the native backend, each compiled for some processors.
MODULES = ["_baseline", "_avx2", "_avx512"]

every_backend = pytest.mark.parametrize("name", BACKENDS)
# KeOps compiles for each number of features, and has threads of its own.
every_backend_but_keops = pytest.mark.parametrize("name", DENSE_BACKENDS)
every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda kind: kind.__name__)


def compiled_module(name):
    """Return a compiled module, or skip the test where the processor cannot run it.

    To call it there would end the process.
    """
    if name not in _modules.modules_for_this_processor():
        pytest.skip(f"this processor cannot run {name}")
    return import_module(f"{_modules.__package__}.{name}")


def frame_of(n_features):
    """Return the frame that changes nothing."""
    return Frame(torch.zeros(n_features, dtype=torch.float64))


PLAIN = frame_of(2)


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

    def expected(self):
        """The sums over all pairs, by the reference."""
        return reference.moments(self.points, self.sample_weight, *self.mixture)

    def frame(self):
        """The points' own frame: their mean and the size of their spread."""
        points = self.points.astype(np.float64)
        centre = points.mean(axis=0)
        return Frame(torch.tensor(centre), float(np.abs(points - centre).max()))


def components_of(mixture):
    """Return components as backends take them, of arrays of the reference."""
    return Components(mixture[0], *map(torch.from_numpy, mixture[1:]))


def draw_mixture(rng, structure, means, width, *, widest, slope):
    """Return components at some means, with positive triangular factors."""
    n_components, n_features = means.shape
    shape = reference.shape_of_factors(structure, n_components, n_features)
    factors = rng.uniform(0.5, widest, size=shape)
    if structure in ("full", "tied"):
        factors = np.triu(factors) * np.where(np.eye(n_features), 1.0, slope)
    factors /= width
    shares = rng.dirichlet(np.ones(n_components))
    offsets = reference.offsets_of(structure, shares, means, factors)
    return structure, offsets, means, factors


def bind_native(points, weights, frame):
    """Return the native backend's reductions over arrays."""
    weights = None if weights is None else torch.from_numpy(weights)
    return get_backend("native")(torch.from_numpy(points), weights, frame)


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
    shape = reference.shape_of_factors(structure, n_components, n_features)
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
    assert pulls.device.type == torch.device(device).type
    expected = reference.responsibilities(points, *case.mixture)
    assert_allclose(pulls.cpu().numpy(), expected.astype(float), rtol=0, atol=rtol * 20)
    assert_allclose(pulls.sum(dim=1).cpu(), 1, atol=4 * torch.finfo(dtype).eps)

    labels = reductions.labels(components)
    assert labels.dtype == torch.int64
    assert labels.device.type == torch.device(device).type
    labels = labels.cpu().numpy()
    assert labels.shape == (len(points),)
    best = expected.max(axis=1)
    chosen = expected[np.arange(len(points)), labels]
    assert_allclose(chosen.astype(float), best.astype(float), rtol=0, atol=rtol * 20)

    assert_same_moments(reductions.moments(components), case.expected(), rtol * 5)
