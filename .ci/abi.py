"""Loads compiled modules in a newer Python, and holds a log-density to its formula.

They are compiled once, for all Pythons from that which compiled them on. This needs
no torch, which is not to be had everywhere for each of these. Of modules whose
instructions the processor does not have it says so.

Usage: python abi.py MODULE.so ...
"""

import math
import sys
from array import array
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

# What modules are compiled for, as Linux names it.
INSTRUCTIONS = {
    "_baseline": set(),
    "_avx2": {"avx2", "fma"},
    "_avx512": {"avx512f", "avx512dq", "avx512vl", "fma"},
}


def lacking(path):
    """Return the instructions of a module that this processor does not have."""
    words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return INSTRUCTIONS[path.name.partition(".")[0]] - words


def load(path):
    """Return the module in that file."""
    name = path.name.partition(".")[0]
    spec = spec_from_loader(name, ExtensionFileLoader(name, str(path)))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(module):
    """Two samples, two components of two features, diagonal."""
    points, out = array("d", [0.0, 1.0, 2.0, -1.0]), array("d", [0.0, 0.0])
    offsets, means = array("d", [-1.0, -2.0]), array("d", [0.0, 0.0, 1.0, 1.0])
    factors = array("d", [1.0, 2.0, 0.5, 1.0])
    centre = array("d", [0.0, 0.0])
    mixture = module.mixture("d", "diag", centre, 1.0, offsets, means, factors)
    alone, rests = -math.inf, None  # nothing has a density beside the components
    module.log_density(mixture, centre, 1.0, alone, points, None, rests, 2**20, out)
    for i, found in enumerate(out):
        density = 0.0
        for j, offset in enumerate(offsets):
            y = [
                factors[2 * j + a] * (points[2 * i + a] - means[2 * j + a])
                for a in range(2)
            ]
            density += math.exp(offset - 0.5 * sum(z * z for z in y))
        assert math.isclose(found, math.log(density), rel_tol=1e-12), found


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    assert paths, "no compiled module was given"
    for path in paths:
        if lacking(path):
            missing = ", ".join(sorted(lacking(path)))
            print(f"{path.name}: this processor lacks {missing}")
            continue
        check(load(path))
        print(f"{path.name}: right in Python {sys.version.split()[0]}")
