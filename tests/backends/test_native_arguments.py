"""The compiled loops trust their arrays; so these are checked, whoever calls."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_keops_gmm._model._parameters import Moments
from sklearn_keops_gmm.backends._native import _modules
from tests.backends.arguments import (
    ANY_BYTES,
    SOME_SCALES,
    above_arguments,
    huge_mixtures,
    mixture_arguments,
    overlapping,
    reduction_arguments,
    wrong_above,
    wrong_mixtures,
    wrong_reductions,
)
from tests.backends.cases import (
    assert_same_moments,
    every_dtype,
    every_structure,
    make_case,
    tolerance,
)
from tests.backends.cluster_arguments import assign_arguments, order_arguments
from tests.common import needs_compiled

pytestmark = needs_compiled

REDUCTIONS = ("log_density", "labels", "responsibilities", "moments")
linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is limited as on Linux"
)


def test_no_wrong_mixture(module):
    module.mixture(*mixture_arguments().values())
    for name, wrong in wrong_mixtures():
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            module.mixture(*wrong.values())


def test_no_wrong_memory(module):
    given = reduction_arguments(module)
    module.log_density(*given.values())
    for reduction in REDUCTIONS[1:]:  # whose results are others
        with pytest.raises(ValueError, match=r"^out: expected .+, got 6 of 'f'"):
            getattr(module, reduction)(*given.values())
    for name, wrong in wrong_reductions(module):
        name = {"sample_weight": "weights"}.get(name, name)
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            module.log_density(*wrong.values())


def test_no_wrong_floors(module):
    given = above_arguments(module)
    assert module.above(*given.values()) == 6
    assert_array_equal(given["rows"], np.arange(6))
    for name, wrong in wrong_above(module):
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            module.above(*wrong.values())


def test_no_more_numbers_than_can_be_counted(module):
    for expected, arguments in huge_mixtures():
        for form in "fd":
            with pytest.raises(ValueError, match=f"^{expected}.*, got "):
                module.mixture(form, *arguments)


def test_results_have_memory_of_their_own(module):
    for name, wrong in overlapping(module):
        name = {"sample_weight": "weights"}.get(name, name)
        with pytest.raises(
            ValueError, match=f"^out: expected .+ own, got some of {name}"
        ):
            module.log_density(*wrong.values())
    memory = np.ones(24, np.float32)  # of which one part may follow the other
    given = {**reduction_arguments(module), "points": memory[:18], "out": memory[18:]}
    module.log_density(*given.values())
    assert (memory[18:] < 0).all()


def test_no_strides_and_no_constants(module):
    given = reduction_arguments(module)
    with pytest.raises(ValueError, match="not C-contiguous"):
        module.log_density(*{**given, "points": np.ones((3, 6), "f").T}.values())
    given["out"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^out: expected .*read-only"):
        module.log_density(*given.values())


def test_no_mixture_of_another_module(module):
    """Each packs mixtures, and has room for tiles, in its own way."""
    others = {
        import_module(f"{_modules.__package__}.{name}")
        for name in _modules.modules_for_this_processor()
    } - {module}
    for other in others:
        foreign = other.mixture(*mixture_arguments().values())
        given = {**reduction_arguments(module), "mixture": foreign}
        with pytest.raises(ValueError, match=r"^mixture: expected .+, got a mixture"):
            module.log_density(*given.values())
        with pytest.raises(ValueError, match=r"^mixture: expected .+, got a mixture"):
            module.n_sums(foreign)


def test_any_number_of_bytes_is_a_wish(module):
    expected = reduction_arguments(module)
    module.log_density(*expected.values())
    for tile_bytes in ANY_BYTES:
        given = {**reduction_arguments(module), "tile_bytes": tile_bytes}
        module.log_density(*given.values())
        assert_array_equal(given["out"], expected["out"])


def test_any_scale_is_safe(module):
    for scale in SOME_SCALES:
        given = {**reduction_arguments(module), "scale": scale}
        module.log_density(*given.values())


def test_what_is_raised_elsewhere_stays(module):
    class Interrupted:
        def __float__(self):
            raise KeyboardInterrupt

        __index__ = __float__

    for name in ("scale", "rest", "tile_bytes"):
        given = {**reduction_arguments(module), name: Interrupted()}
        with pytest.raises(KeyboardInterrupt):
            module.log_density(*given.values())


def test_no_samples(module):
    given = {
        **reduction_arguments(module),
        "points": np.zeros((0, 3), np.float32),
        "sample_weight": np.zeros(0, np.float32),
    }
    for reduction, dtype, size in zip(REDUCTIONS, "flfd", (0, 0, 0, 22), strict=True):
        out = np.zeros(size, dtype)
        getattr(module, reduction)(*{**given, "out": out}.values())
        assert not out.any()


@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 3, 9, 12])
def test_as_many_sums_as_are_written(module, structure, dtype, n_features, rng):
    case = make_case(rng, structure, dtype, n_features=n_features, n_samples=9)
    if structure in ("full", "tied"):
        case = replace(case, factors=np.triu(case.factors))
    frame = np.zeros(n_features), 1.0
    _, *arrays = case.mixture
    mixture = module.mixture(np.dtype(dtype).char, structure, *frame, *arrays)
    out = np.zeros(module.n_sums(mixture))
    given = *frame, -np.inf, case.points, case.sample_weight, None
    module.moments(mixture, *given, 0, out)
    expected = case.expected()
    found = [np.full_like(sums, np.nan, float) for sums in expected[:3]]
    log_likelihood, beside = module.settle(mixture, 1.0, out, *found)
    moments = Moments(*map(torch.from_numpy, found), log_likelihood)
    assert_same_moments(moments, expected, 100 * tolerance(dtype))
    assert beside == 0.0


# The limit is that of a process of its own, which loads nothing else.
SCARCE = textwrap.dedent("""
    import resource, sys
    from importlib.util import module_from_spec, spec_from_file_location

    import numpy as np

    spec = spec_from_file_location(*sys.argv[1:3])
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    M = 2**22
    arrays = np.zeros(M), np.zeros(M), np.ones(M)
    X, out = np.zeros(7), np.zeros(7)

    def limit(mebibytes):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * 2**20, -1))

    def raises(function, *args):
        try:
            function(*args)
        except MemoryError:
            return True
        return False

    mixture = module.mixture("d", "diag", np.zeros(1), 1.0, *arrays)
    limit(16)
    print(raises(module.mixture, "d", "diag", np.zeros(1), 1.0, *arrays), end=" ")
    limit(64)
    given = mixture, np.zeros(1), 1.0, -np.inf, X, None, None, 2**20, out
    print(raises(module.log_density, *given))
""")


@linux_only
def test_memory_that_is_not_there(module):
    command = [sys.executable, "-c", SCARCE, module.__name__, module.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


def test_all_functions_refuse_in_the_same_words(module):
    """Each: an array of no such dtype, of a part of a row, of others' memory."""
    of_order, of_groups = order_arguments(), (np.zeros(4, np.int32), np.zeros(3, int))
    dtype = "expected numbers of format 'f' or 'd', got 210 of 'l'"
    with pytest.raises(ValueError, match=f"^points: {dtype}"):
        module.block_order(3, np.ones((70, 3), int), of_order["order"])
    with pytest.raises(ValueError, match=f"^rows: {dtype}"):
        module.shared_moments(
            "full",
            np.ones((70, 3), int),
            np.ones((70, 1)),
            np.zeros(70, int),
            np.array([0, 70]),
            np.ones((1, 3)),
            np.zeros(1, int),
            0,
            1,
            np.zeros(10),
        )
    multiple = "expected a multiple of 4 numbers, got 6 of 'd'"
    with pytest.raises(ValueError, match=f"^points: {multiple}"):
        module.block_order(4, np.ones(6), of_order["order"])
    keys = np.ones(6, np.int32)
    given = np.ones(8), None, np.ones((3, 5)), keys.copy(), np.ones(6), keys, 4, 3
    with pytest.raises(ValueError, match=multiple.replace("'d'", "'i'")):
        module.share("diag", *given)
    own = "expected memory of its own, got some of"
    memory = np.zeros(210)
    with pytest.raises(ValueError, match=f"^order: {own} points"):
        module.block_order(3, memory, memory[:70].view(int))
    with pytest.raises(ValueError, match=f"^bounds: {own} keys"):
        module.group(memory[:2].view(np.int32), memory[:3].view(int), np.zeros(4, int))
    outside = "expected numbers from .+ to 1, got 2"
    wrong = assign_arguments() | {"labels": np.full(128, 2)}
    with pytest.raises(ValueError, match=f"^labels: {outside}"):
        module.assign(*wrong.values())
    with pytest.raises(ValueError, match=f"^keys: {outside}"):
        module.group(of_groups[0] + np.int32(2), of_groups[1], np.zeros(4, int))
