"""What only the native backend has: compiled modules, blocks of features, rounding."""

from importlib import import_module

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._parameters import Components, Frame
from sklearn_keops_gmm._validation import resolve_device
from sklearn_keops_gmm.backends import _choice, choose_backend, get_backend
from sklearn_keops_gmm.backends._native import _modules, _reductions
from tests import reference
from tests.backends.test_contract import (
    assert_same_answers,
    assert_same_moments,
    every_dtype,
    every_structure,
    make_case,
    tolerance,
)

MODULES = ["_baseline", "_avx2", "_avx512"]
CPU = torch.device("cpu")


def frame_of(n_features):
    return Frame(torch.zeros(n_features, dtype=torch.float64))


@pytest.fixture(params=MODULES)
def module(request, monkeypatch):
    """Each compiled module that this processor can run, in place of the fastest."""
    if request.param not in _modules.modules_for_this_processor():
        pytest.skip(f"this processor cannot run {request.param}")
    reduce = import_module(f"{_modules.__package__}.{request.param}").reduce
    monkeypatch.setattr(_reductions, "native_reduce", lambda: reduce)


# Those kept in registers, those in squares of 4 and of 5, and what is left over.
@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [*range(1, 18), 21, 24, 33])
def test_every_number_of_features(module, structure, dtype, n_features, rng):
    case = make_case(rng, structure, dtype, n_features=n_features, n_samples=83)
    rtol = 10 * tolerance(dtype)
    assert_same_answers(case, "native", rtol, frame_of(n_features))


# Around the rows that are padded, and the end of a tile.
@pytest.mark.parametrize("n_samples", [1, 31, 32, 33, 64, 383, 384, 385, 769])
@every_dtype
def test_every_length_of_tiles(module, dtype, n_samples, rng):
    case = make_case(rng, "full", dtype, n_features=3, n_samples=n_samples)
    assert_same_answers(case, "native", tolerance(dtype), frame_of(3))


def test_responsibilities_to_the_last_digits(module, rng):
    """The powers and logarithms of two are our own."""
    points = np.linspace(-40, 40, 10_001)[:, None]
    means = np.array([[-1.0], [0.5], [3.0]])
    factors = np.array([[[1.0]], [[0.3]], [[2.0]]])
    offsets = reference.offsets_of("full", np.full(3, 1 / 3), means, factors)
    mixture = "full", offsets, means, factors
    components = Components("full", *map(torch.tensor, mixture[1:]))
    reductions = get_backend("native")(torch.tensor(points), None, frame_of(1))
    expected = reference.responsibilities(points, *mixture).astype(float)
    found = reductions.responsibilities(components).numpy()
    # The rounding of the exponent, which is of the size of the squared distance.
    assert_allclose(found, expected, rtol=1e-12, atol=1e-307)
    log_density = reference.log_density(points, *mixture).astype(float)
    found = reductions.log_density(components).numpy()
    assert_allclose(found, log_density, rtol=1e-15, atol=1e-15)


@every_structure
def test_rounded_means_are_made_good(module, structure, rng):
    """float32 cannot hold the means, but moments are about those that were given."""
    case = make_case(rng, structure, np.float32, n_features=3, n_components=1)
    frame = Frame(torch.full((3,), 1 / 3, dtype=torch.float64), 2.0)
    moments = case.reductions("native", frame).moments(case.components())
    expected = reference.moments(case.points, case.sample_weight, *case.mixture)
    assert_allclose(moments.first, expected.first.astype(float), rtol=2e-6)


def test_weights_of_zero_outweigh_impossible_samples(module, rng):
    case = make_case(rng, "diag", np.float64, n_features=2)
    case.points[0], case.sample_weight[0] = 1e200, 0.0
    moments = case.reductions("native").moments(case.components())
    assert np.isfinite(moments.log_likelihood)
    assert torch.isfinite(moments.second).all()


@every_dtype
def test_columns_of_tables(dtype, rng):
    """Points and weights that do not lie side by side."""
    case = make_case(rng, "full", dtype)
    table = torch.tensor(np.column_stack([case.points, case.sample_weight]))
    reductions = get_backend("native")(table[:, :2], table[:, 2], frame_of(2))
    expected = reference.moments(case.points, case.sample_weight, *case.mixture)
    found = reductions.moments(case.components())
    assert_same_moments(found, expected, 5 * tolerance(dtype))


def test_the_fastest_module_is_taken():
    found = _modules.native_reduce()
    assert found is not None
    fastest = _modules.modules_for_this_processor()[0]
    assert found is import_module(f"{_modules.__package__}.{fastest}").reduce


def test_only_the_cpu():
    points = torch.zeros(4, 2, dtype=torch.float64, device="meta")
    with pytest.raises(ValueError, match=r"backend='native'.*CPU; got data on meta"):
        get_backend("native")(points, None, frame_of(2))


@pytest.mark.parametrize(("backend", "kind"), [("native", "cpu"), ("torch", "cuda")])
def test_a_gpu_is_no_place_for_it(monkeypatch, backend, kind):
    """Where there is one, device="auto" takes it for as many numbers as these."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    X = np.empty((10**6, 10), dtype=np.float32)
    assert resolve_device("auto", X, 10, backend).type == kind


def test_installed_without_a_compiler(monkeypatch, rng):
    """Then "auto" is torch, and who insists is told what is missing."""
    X = rng.normal(size=(50, 2))
    assert choose_backend("auto", CPU, 2) == "native"
    for module in (_choice, _modules):
        monkeypatch.setattr(module, "native_is_available", lambda: False)
    assert choose_backend("auto", CPU, 2) == "torch"
    KeOpsGaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ImportError, match=r"backend='native'.*compiler"):
        KeOpsGaussianMixture(2, backend="native").fit(X)
