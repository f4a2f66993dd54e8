"""What only the native backend has: compiled modules, blocks of features, rounding."""

import runpy
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import EfficiencyWarning

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data._checks import resolve_device
from sklearn_keops_gmm._model._parameters import Components
from sklearn_keops_gmm.backends import choose_backend, get_backend
from sklearn_keops_gmm.backends._native import _modules
from tests import reference
from tests.backends.cases import (
    MODULES,
    Case,
    assert_same_answers,
    assert_same_moments,
    every_dtype,
    every_structure,
    frame_of,
    make_case,
    tolerance,
)
from tests.common import needs_compiled

pytestmark = needs_compiled

CPU = torch.device("cpu")
# What loads the modules of a wheel in a Python that need not have torch.
ABI = Path(__file__).parents[2] / ".ci" / "abi.py"


@pytest.mark.skipif(not ABI.exists(), reason="it is part of a checkout alone")
def test_modules_are_checked_without_torch(module):
    runpy.run_path(str(ABI))["check"](module)


# Those kept in registers, those in squares of 4 and of 5, and what is left over.
@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [*range(1, 18), 21, 24, 33])
@pytest.mark.fast(40)
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


# Squares of samples and features are read at once, and what is left over one by one.
@every_dtype
@pytest.mark.parametrize("n_samples", [1, 7, 8, 9, 16, 17, 65, 1000])
@pytest.mark.parametrize("n_features", [4, 8, 15, 16, 19])
@pytest.mark.fast(20)
def test_every_sample_is_read(module, dtype, n_samples, n_features, rng):
    sizes = {"n_samples": n_samples, "n_features": n_features}
    case = make_case(rng, "diag", dtype, weighted=False, **sizes)
    assert_same_answers(case, "native", 3 * tolerance(dtype), frame_of(n_features))


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


@every_dtype
def test_powers_and_logarithms_to_the_last_digit(module, dtype):
    """Of equal squared distances, which are 0, only offsets are left."""
    offsets = -np.geomspace(1e-8, 20, 401)
    means, factors = np.zeros((401, 1)), np.ones((401, 1, 1))
    case = Case(np.zeros((7, 1), dtype), None, "full", offsets, means, factors)
    reductions = case.reductions("native", frame_of(1))
    eps = np.finfo(dtype).eps
    found = reductions.responsibilities(case.components())
    expected = reference.responsibilities(case.points, *case.mixture).astype(float)
    # The offsets are rounded to base 2, the largest to half of 32 eps.
    assert_allclose(found, expected, rtol=12 * eps)
    near = offsets > -1
    assert_allclose(found[:, near], expected[:, near], rtol=2 * eps)
    ends = means[:2], factors[:2]
    for offset in offsets[::4]:
        pair = Case(case.points, None, "full", np.array([0, offset]), *ends)
        found = reductions.log_density(pair.components())
        assert_allclose(found, np.logaddexp(0, offset), rtol=0, atol=2 * eps)


@every_structure
def test_rounded_means_are_made_good(module, structure, rng):
    """float32 cannot hold the means, but moments are about those that were given."""
    points = (1e6 + rng.normal(size=(1000, 3))).astype(np.float32)
    means = np.array([[1e6 + 0.02, 1e6 - 0.025, 1e6 + 0.31]])
    factors = np.ones(reference.shape_of_factors(structure, 1, 3))
    case = Case(points, None, structure, np.zeros(1), means, factors)
    moments = case.reductions("native", frame_of(3)).moments(case.components())
    expected = case.expected()
    assert_allclose(moments.first, expected.first.astype(float), rtol=1e-6)
    assert_allclose(moments.second, expected.second.astype(float), rtol=1e-6)


def test_many_shares_sum_to_one(module, rng):
    case = make_case(rng, "diag", np.float32, n_components=5000, width=10.0)
    pulls = case.reductions("native").responsibilities(case.components())
    assert_allclose(pulls.double().sum(dim=1), 1, atol=1e-6)


def test_log_likelihoods_are_summed_in_float64(module, rng):
    case = make_case(rng, "full", np.float32, weighted=False, n_samples=5003)
    reductions, components = case.reductions("native"), case.components()
    expected = float(reductions.log_density(components).double().sum())
    found = reductions.moments(components).log_likelihood
    assert found == pytest.approx(expected, rel=1e-12)


@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [3, 9])
def test_impossible_samples(module, structure, dtype, n_features, rng):
    """Where each log-density overflows, or is a difference of infinities."""
    case = make_case(rng, structure, dtype, n_features=n_features, weighted=False)
    reductions = case.reductions("native", frame_of(n_features))
    log_density = reductions.log_density(case.components())
    far = np.full(n_features, np.finfo(dtype).max, dtype)
    far[::2] *= -1
    case.points[[5, 100]] = 1e-15 * far, 0.9 * far
    reductions = case.reductions("native", frame_of(n_features))
    for row in (5, 100):
        assert reductions.log_density(case.components())[row] == -np.inf
        shares = reductions.responsibilities(case.components())[row]
        assert float(shares.sum()) == pytest.approx(1, rel=1e-6)
        assert reductions.labels(case.components())[row] == shares.argmax()
    others = np.delete(np.arange(len(case.points)), [5, 100])
    found = reductions.log_density(case.components())[others]
    assert_array_equal(found, log_density[others])


def test_the_first_of_equal_components(module, rng):
    case = make_case(rng, "full", np.float64, n_components=3)
    twice = Components(
        "full", *(torch.tensor(a).repeat_interleave(2, 0) for a in case.mixture[1:])
    )
    labels = case.reductions("native").labels(twice)
    assert_array_equal(labels, 2 * case.reductions("native").labels(case.components()))


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
    found = reductions.moments(case.components())
    assert_same_moments(found, case.expected(), 5 * tolerance(dtype))


@every_dtype
def test_numbers_at_odd_addresses(dtype, rng):
    """As in a message of which they are a part."""
    case = make_case(rng, "full", dtype)

    def at_an_odd_address(array):
        message = np.empty(array.nbytes + 1, np.uint8)[1:]
        message[:] = np.frombuffer(array.tobytes(), np.uint8)
        return torch.from_numpy(message.view(array.dtype).reshape(array.shape))

    points, weights = map(at_an_odd_address, (case.points, case.sample_weight))
    assert points.data_ptr() % 2
    reductions = get_backend("native")(points, weights, frame_of(2))
    found = reductions.moments(case.components())
    assert_same_moments(found, case.expected(), 5 * tolerance(dtype))


def test_the_fastest_module_is_taken():
    fastest = _modules.modules_for_this_processor()[0]
    assert _modules.native_module() is import_module(
        f"{_modules.__package__}.{fastest}"
    )


def test_automatic_only_on_the_cpu():
    assert choose_backend("auto", torch.device("cuda", 1), "full") == "torch"


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


@pytest.fixture
def break_modules(monkeypatch):
    """Let modules not be found, or not load, as if compiled for another machine."""

    def break_some(names, error=ImportError):
        def load(name):
            if name.rpartition(".")[2] in names:
                raise error("undefined symbol")
            return import_module(name)

        monkeypatch.setattr(_modules, "import_module", load)
        monkeypatch.setattr(_modules, "_search", _modules._search.__wrapped__)

    return break_some


def test_installed_without_a_compiler(break_modules, rng):
    """Then "auto" is torch, and who insists reads what is missing."""
    X = rng.normal(size=(50, 2))
    assert choose_backend("auto", CPU, "full") == "native"
    break_modules(MODULES, ModuleNotFoundError)
    assert choose_backend("auto", CPU, "full") == "torch"
    KeOpsGaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ImportError, match=r"there are none.*compiler.*no-cache-dir"):
        KeOpsGaussianMixture(2, backend="native").fit(X)


def test_a_module_that_does_not_load_gives_way(break_modules):
    names = _modules.modules_for_this_processor()
    if len(names) == 1:
        pytest.skip("there is none to take its place")
    break_modules(names[:1])
    with pytest.warns(EfficiencyWarning, match=r"not load: undefined symbol.*compiler"):
        assert _modules.native_module().__name__.endswith(names[1])


def test_modules_that_do_not_load_are_no_missing_ones(break_modules):
    """Then "auto" is torch, with a warning, and who insists reads the reason."""
    break_modules(MODULES)
    with pytest.warns(EfficiencyWarning, match="not load: undefined symbol"):
        assert choose_backend("auto", CPU, "full") == "torch"
    with (
        pytest.warns(EfficiencyWarning),
        pytest.raises(ImportError, match="they do not load: undefined symbol"),
    ):
        get_backend("native")
