"""What the compiled module takes, and every way in which it is no such thing.

Nothing here imports pytest: `sanitized` runs where there is none.
"""

import ctypes
import datetime
from itertools import product

import numpy as np


def mixture_arguments():
    """What `mixture` takes, all as it should be."""
    return {
        "format": "f",
        "structure": "full",
        "centre": np.zeros(3),
        "scale": 1.0,
        "offsets": np.zeros(2),
        "means": np.zeros((2, 3)),
        "factors": np.tile(np.eye(3), (2, 1, 1)),
    }


def reduction_arguments(module):
    """What `log_density` takes, all as it should be."""
    return {
        "mixture": module.mixture(*mixture_arguments().values()),
        "centre": np.zeros(3),
        "scale": 1.0,
        "rest": -np.inf,
        "points": np.ones((6, 3), np.float32),
        "sample_weight": np.ones(6, np.float32),
        "rests": None,
        "tile_bytes": 2**20,
        "out": np.zeros(6, np.float32),
    }


def above_arguments(module):
    """What `above` takes, all as it should be."""
    return {
        "mixture": module.mixture(*mixture_arguments().values()),
        "centre": np.zeros(3),
        "scale": 1.0,
        "points": np.ones((6, 3), np.float32),
        "order": np.arange(6),
        "floors": np.full(6, -9.0),
        "tile_bytes": 2**20,
        "rows": np.zeros(6, np.int64),
        "log_densities": np.zeros(6, np.float32),
    }


def at_an_odd_address(array):
    """Return the same numbers, of which nothing says that they are not aligned."""
    message = np.empty(array.nbytes + 1, np.uint8)[1:]
    message[:] = np.frombuffer(array.tobytes(), np.uint8)
    return memoryview(message).cast(array.dtype.char)


class _Buffer(ctypes.Structure):
    """C's Py_buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_memory = np.zeros(64)
_formats: dict[bytes, ctypes.c_char_p] = {}


def claim(form, itemsize, count):
    """Return what claims to be so many numbers, and is at most 64 of eight bytes."""
    text = _formats.setdefault(form, ctypes.c_char_p(form))
    buffer = _Buffer(
        buf=_memory.ctypes.data,
        len=itemsize * count,
        itemsize=itemsize,
        ndim=1,
        format=text,
        shape=(ctypes.c_ssize_t * 1)(count),
    )
    make = ctypes.pythonapi.PyMemoryView_FromBuffer
    make.restype, make.argtypes = ctypes.py_object, (ctypes.POINTER(_Buffer),)
    return make(ctypes.byref(buffer))


# Made of an array that is as it should be.
NO_NUMBERS = {
    "no_bytes": lambda array: np.zeros(array.shape, "V0"),
    "no_bytes_and_fields": lambda array: np.zeros(array.shape, []),
    "raw": lambda array: array.view(f"V{array.itemsize}"),
    "fields": lambda array: array.ravel().view([("é" * 99, array.dtype)]),
    "other_order": lambda array: array.astype(array.dtype.newbyteorder()),
    "odd_address": at_an_odd_address,
    "booleans": lambda array: array.astype(bool),
    "halves": lambda array: array.astype(np.float16),
    "long_doubles": lambda array: array.astype(np.longdouble),
    "other_precision": lambda array: array.astype("d" if array.itemsize < 8 else "f"),
    "complex": lambda array: array.astype(complex),
    "integers": lambda array: array.astype(np.int64),
    "objects": lambda array: array.astype(object),
    "strings": lambda array: array.astype("S8"),
    "dates": lambda array: np.zeros(array.shape, "M8[s]"),
    "empty_format": lambda array: claim(b"", array.itemsize, array.size),
    "no_format": lambda array: claim(None, array.itemsize, array.size),
    "half_of_each": lambda array: claim(
        array.dtype.char.encode(), array.itemsize // 2, array.size
    ),
    "standard_size": lambda array: claim(
        b"=" + array.dtype.char.encode(), array.itemsize, array.size
    ),
    "native_size": lambda array: claim(
        b"@" + array.dtype.char.encode(), array.itemsize, array.size
    ),
    "strides": lambda array: np.repeat(array, 2, axis=0)[::2],
    "backwards": lambda array: array[::-1],
    "repeated": lambda array: np.broadcast_to(array.ravel()[0], array.shape),
    "a_number": lambda array: 1.0,
    "text": lambda array: "numbers",
    "bytes": lambda array: array.tobytes(),
    "a_list": lambda array: array.tolist(),
    "none": lambda array: None,
}
OTHER_COUNTS = {
    "none_at_all": lambda array: array.ravel()[:0],
    "one_less": lambda array: array.ravel()[:-1],
    "one_more": lambda array: np.append(array, array.ravel()[:1]),
}

NO_NAMES = {
    "format": ["", "i", "ff", "f\0", "f" * 999, "\ud800", "é" * 99, b"f", 1, None],
    "structure": ["", "round", "full\0", "\ud800", "é" * 99, b"full", 1.0, None],
}
# Numbers of features that the loops are written for, and others.
FEATURES = [*range(1, 13), 16, 17, 33]
UGLY = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e30, 5e-324, 1e-310, 0.0, -0.0]
NO_CAPSULES = [None, 1, "mixture", datetime.datetime_CAPI]
NO_SCALES = [0, 0.0, -0.0, -1.0, np.nan, np.inf, -np.inf, 10**999, 1j, "1", None]
NO_RESTS = [np.nan, np.inf, 10**999, 1j, "1", None]
NO_BYTES = [1.0, np.nan, "1", None]
ANY_BYTES = [-(2**99), -(2**63), -1, 0, 1, 2**12, 2**63 - 1, 2**63, 2**99]
SOME_RESTS = [-np.inf, -1e308, -1e3, 0, 1e3, 1.7e308]
RESTS_OF_EACH = [
    np.full(6, rest, np.float32) for rest in (-np.inf, -3e38, 0, 3e38, np.inf, np.nan)
]
SOME_SCALES = [5e-324, 2.0**-1022, 2.0**1023, 1, np.float32(2)]


def wrong_mixtures():
    """Yield the name of an argument, and arguments of which that one is wrong."""
    given = mixture_arguments()
    for name, values in NO_NAMES.items():
        for value in values:
            yield name, {**given, name: value}
    for value in NO_SCALES:
        yield "scale", {**given, "scale": value}
    for name in ("centre", "offsets", "means", "factors"):
        for make in NO_NUMBERS.values():
            yield name, {**given, name: make(given[name])}
        for make in OTHER_COUNTS.values():
            # Which of them is wrong, who can tell?
            yield r"\w+", {**given, name: make(given[name])}


def wrong_reductions(module):
    """Yield the same for `log_density`."""
    given = {**reduction_arguments(module), "rests": np.zeros(6, np.float32)}
    wide = module.mixture(*{**mixture_arguments(), "format": "d"}.values())
    for name, values in (
        ("mixture", [*NO_CAPSULES, wide]),
        ("scale", NO_SCALES),
        ("rest", NO_RESTS),
        ("tile_bytes", NO_BYTES),
    ):
        for value in values:
            yield name, {**given, name: value}
    for name in ("centre", "points", "sample_weight", "rests", "out"):
        for kind, make in NO_NUMBERS.items():
            if kind == "none" and name in ("sample_weight", "rests"):
                continue  # then they are ones, or there is nothing else
            # To float64 samples belongs a mixture for these.
            wrong = "mixture" if (name, kind) == ("points", "other_precision") else name
            yield wrong, {**given, name: make(given[name])}
        for make in OTHER_COUNTS.values():
            yield r"\w+", {**given, name: make(given[name])}


def wrong_above(module):
    """Yield the same for `above`."""
    given = above_arguments(module)
    wide = module.mixture(*{**mixture_arguments(), "format": "d"}.values())
    for name, values in (
        ("mixture", [*NO_CAPSULES, wide]),
        ("scale", NO_SCALES),
        ("tile_bytes", NO_BYTES),
        ("order", [np.arange(1, 7), np.arange(-1, 5), np.full(6, 2**62)]),
        ("floors", [np.zeros(0)]),
    ):
        for value in values:
            # Which floors there are tells what an order can be.
            yield "order" if name == "floors" else name, {**given, name: value}
    for name in ("centre", "points", "order", "floors", "rows", "log_densities"):
        for kind, make in NO_NUMBERS.items():
            if (name, kind) in (("order", "integers"), ("rows", "integers")):
                continue
            wrong = "mixture" if (name, kind) == ("points", "other_precision") else name
            yield wrong, {**given, name: make(given[name])}
        for make in OTHER_COUNTS.values() if name != "floors" else ():
            yield r"\w+", {**given, name: make(given[name])}
    yield "rows", {**given, "rows": given["order"]}
    memory = np.zeros(6)
    yield "rows", {**given, "floors": memory, "rows": memory.view(np.int64)}
    memory = np.zeros(6, np.int64)
    out = memory.view(np.float32)[6:]
    yield "log_densities", {**given, "rows": memory, "log_densities": out}


def overlapping(module):
    """Yield what a reduction reads, and arguments of which `out` is a part of that."""
    given = reduction_arguments(module)
    points, weights = given["points"], given["sample_weight"]
    rests = np.zeros(6, np.float32)
    yield "points", {**given, "out": points.ravel()[12:]}
    yield "points", {**given, "out": points.ravel()[:6]}
    yield "sample_weight", {**given, "out": weights}
    yield "rests", {**given, "out": rests, "rests": rests}
    memory = np.ones(9, np.float32)
    yield "sample_weight", {**given, "out": memory[3:], "sample_weight": memory[:6]}
    memory = np.zeros(3)
    yield "centre", {**given, "centre": memory, "out": memory.view(np.float32)}


def huge_mixtures():
    """Yield arguments that claim more numbers than can be counted, or than there are.

    With each is what is expected instead.
    """
    one, most = np.zeros(1), 2**31 - 1
    frame = one, 1.0

    def doubles(count):
        return claim(b"d", 8, count)

    yield f"means: expected 1 to {most}", ("full", *frame, one, doubles(2**31), one)
    given = "diag", *frame
    yield f"means: expected 1 to {most}", (*given, one, doubles(2**32 + 1), one)
    yield f"offsets: expected 1 to {most}", (*given, doubles(2**31), one, one)
    for structure in ("full", "tied"):
        for n_features in (46_340, 46_341, 65_536, 92_682, most):
            yield (
                f"factors: expected {n_features**2} numbers",
                (structure, *frame, one, doubles(n_features), one),
            )
    yield (
        f"factors: expected {2**63 - 1} numbers",
        ("full", *frame, np.zeros(100), doubles(100 * most), one),
    )


def refused(function, arguments, errors=ValueError):
    """Call what has to be refused."""
    try:
        function(*arguments)
    except errors:
        return
    raise AssertionError(f"{function} took {arguments}")


def hand_over_ugly(function, given, names, rng):
    """Call with an ugly number at some place of each array that is named."""
    for name, value in product(names, UGLY):
        ugly = given[name].copy()
        ugly.flat[rng.integers(ugly.size)] = value
        function(*(given | {name: ugly}).values())
