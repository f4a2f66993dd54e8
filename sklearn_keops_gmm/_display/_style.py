"""What all displays do before they draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

Style = dict[str, Any] | None
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def checks_styles(plot: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Let what draws raise TypeError at first where a style is no dict.

    Styles are what is given by names that end in _kw.
    """

    @wraps(plot)
    def checked(*args: _Given.args, **given: _Given.kwargs) -> _Result:
        for name, value in given.items():
            usable = value is None or isinstance(value, Mapping)
            if name.endswith("_kw") and not usable:
                raise TypeError(f"{name!r} must be a dict or None; got {value!r}.")
        return plot(*args, **given)

    return checked


def axes_for(ax: Any, caller: str) -> Any:
    """Return `ax`, or new ones if it is None; ImportError without matplotlib.

    Raises
    ------
    TypeError
        If they are no axes, but an array of some, say.
    """
    check_matplotlib_support(caller)
    import matplotlib.pyplot as plt

    if ax is None:
        return plt.subplots()[1]
    if not isinstance(ax, plt.Axes):
        raise TypeError(
            f"'ax' of {caller} must be a matplotlib Axes or None; got "
            f"{type(ax).__name__}. Of several axes give one."
        )
    return ax


# Names under which matplotlib refuses a second colour.
_COLOURS = frozenset({"c", "color", "colors", "facecolor"})


def style(artist: Any, default: dict[str, Any], given: Style) -> dict[str, Any]:
    """Return `default` updated by what a user gave, by whatever alias."""
    from matplotlib.cbook import normalize_kwargs

    look, wanted = (normalize_kwargs(kw or {}, artist) for kw in (default, given))
    if _COLOURS & wanted.keys():
        look = {name: value for name, value in look.items() if name not in _COLOURS}
    return {**look, **wanted}


# Eight that are told apart by most eyes (Okabe and Ito, 2008), the darkest first.
_OF_CLUSTERS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#000000",
    "#b8a800",
)


def cluster_colours(labels: np.ndarray) -> list[Any]:
    """Return a colour for each component or sample, by its cluster; -1 is grey."""
    n_clusters = max(int(labels.max()) + 1, 1)
    if n_clusters <= len(_OF_CLUSTERS):
        colours: list[Any] = list(_OF_CLUSTERS[:n_clusters])
    else:
        import matplotlib as mpl

        colours = list(mpl.colormaps["turbo"](np.linspace(0.03, 0.97, n_clusters)))
    return [colours[label] if label >= 0 else "0.6" for label in labels]


def fitted_last_step(estimator: Any, attribute: str, display: str, kinds: str) -> Any:
    """Return the last step of a pipeline, or what is none, if it is fitted.

    Parameters
    ----------
    estimator : estimator
    attribute : str
        That the classes have which are accepted, fitted or not.
    display, kinds : str
        The display that asks, and what it accepts, for the message.

    Raises
    ------
    TypeError
        If it is of another class.
    NotFittedError
        If it is not fitted.
    """
    estimator = last_step(estimator)
    if not hasattr(estimator, attribute):
        raise TypeError(
            f"'estimator' of {display} must be a fitted {kinds}; got "
            f"{type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    return estimator


def last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, or what is none as it is."""
    steps = getattr(estimator, "steps", None)
    return estimator if steps is None else steps[-1][1]
