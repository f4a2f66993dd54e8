"""The pages of the API name all that is public."""

import inspect
import re
from functools import partial
from pathlib import Path

import pytest

import sklearn_keops_gmm

API = (Path(__file__).parents[1] / "docs" / "api.rst").read_text()
ENTRIES = set(re.findall(r"^\.\. auto(?:class|method|function):: (\S+)", API, re.M))
for name, members in re.findall(
    r"^\.\. autoclass:: (\w+)\n   :members: (.*)$", API, re.M
):
    ENTRIES |= {f"{name}.{member}" for member in members.split(", ")}


def public_methods(public):
    """Return the names of methods and properties that this package has written."""
    if not inspect.isclass(public):
        return []
    written = [
        owner
        for owner in public.__mro__
        if owner.__module__.split(".")[0] == "sklearn_keops_gmm"
    ]
    found = {member for owner in written for member in vars(owner)}
    return sorted(filter(partial(is_method, public), found))


def is_method(public, member):
    """Return whether it is public, and none that scikit-learn adds for routing."""
    if member.startswith("_") or member.endswith("_request"):
        return False
    value = getattr(public, member)
    return callable(value) or isinstance(value, property)


@pytest.mark.parametrize("name", sklearn_keops_gmm.__all__)
def test_all_that_is_public_has_an_entry(name):
    methods = public_methods(getattr(sklearn_keops_gmm, name))
    asked = {name, *(f"{name}.{method}" for method in methods)}
    assert sorted(asked - ENTRIES) == []


def test_entries_are_public():
    """So that none stays of what has been removed."""
    public = set(sklearn_keops_gmm.__all__)
    for name in sklearn_keops_gmm.__all__:
        methods = public_methods(getattr(sklearn_keops_gmm, name))
        public |= {f"{name}.{method}" for method in methods}
    assert sorted(ENTRIES - public) == []
