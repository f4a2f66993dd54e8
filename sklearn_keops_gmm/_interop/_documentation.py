"""Where the documentation is published, for the links in HTML representations."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata


@cache
def documentation_address() -> str:
    """Return the address that the package's metadata call its documentation.

    Empty as long as they name none.
    """
    try:
        addresses = metadata("sklearn-keops-gmm").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    named = dict(address.split(", ", 1) for address in addresses)
    return named.get("Documentation", "")
