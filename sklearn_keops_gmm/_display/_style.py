"""What all displays do before they draw."""

from __future__ import annotations

from typing import Any

from sklearn.utils._optional_dependencies import check_matplotlib_support

Style = dict[str, Any] | None


def axes_for(ax: Any, caller: str) -> Any:
    """Return `ax`, or new ones if it is None; ImportError without matplotlib."""
    check_matplotlib_support(caller)
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots()[1]


# Names under which matplotlib refuses a second colour.
_COLOURS = frozenset({"c", "color", "colors", "facecolor"})


def style(artist: Any, default: dict[str, Any], given: Style) -> dict[str, Any]:
    """Return `default` updated by what a user gave, by whatever alias."""
    from matplotlib.cbook import normalize_kwargs

    look, wanted = (normalize_kwargs(kw or {}, artist) for kw in (default, given))
    if _COLOURS & wanted.keys():
        look = {name: value for name, value in look.items() if name not in _COLOURS}
    return {**look, **wanted}
