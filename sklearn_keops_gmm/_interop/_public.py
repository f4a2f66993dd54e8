"""Public names for public things, wherever they are defined.

Pickles, skops' lists of trusted types and representations name
``sklearn_keops_gmm.KeOpsGaussianMixture``, and never the file that defines it. What
older versions have saved names such files: it is found under those names, too.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

# Where public classes were defined once, and no longer are.
_FORMER = ("_path", "_selection")


def publish(package: ModuleType) -> None:
    """Let what a package shows in ``__all__`` be called by the package's name."""
    for name in package.__all__:
        thing = getattr(package, name)
        home: Any = sys.modules[thing.__module__]
        # doctest passes over what says that it is from elsewhere, unless it is named.
        home.__test__ = {**getattr(home, "__test__", {}), name: thing}
        if isinstance(thing, type):
            # Written as text, they are looked up where the class says that it is from.
            thing.__annotations__ = inspect.get_annotations(thing, eval_str=True)
        thing.__module__ = package.__name__
    for name in _FORMER:
        former: Any = ModuleType(f"{package.__name__}.{name}")
        former.__dict__.update(
            {name: getattr(package, name) for name in package.__all__}
        )
        sys.modules[former.__name__] = former
