"""The tree in which components are merged into clusters, and where it is cut."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_keops_gmm._data import to_numpy
from sklearn_keops_gmm._display._style import (
    Style,
    axes_for,
    checks_styles,
    cluster_colours,
    fitted_last_step,
    style,
)

_ABOVE, _CUT = "0.35", "#d55e00"
# Of the largest distance: how far above the last merger the picture goes.
_HEADROOM = 0.06


class MergeDisplay:
    """The mergers of components as a tree, coloured by the clusters of a cut.

    Each merger is a bracket at its distance. Below the cut, brackets have the colour
    of their cluster, as in :class:`MixtureDisplay`; the numbers are of components.

    It is recommended to use :meth:`from_estimator` to create one. All parameters are
    stored as attributes.

    Parameters
    ----------
    children : array-like of shape (n_components - 1, 2)
        What each merger joins: components, or results of earlier mergers.
    distances : array-like of shape (n_components - 1,)
        Of what is joined, not falling.
    labels : array-like of shape (n_components,)
        The cluster of each component.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    brackets_ : matplotlib LineCollection
        In the order of mergers.
    cut_ : matplotlib Line2D
        Halfway between the last merger within a cluster and the first one above.

    See Also
    --------
    MixtureClustering : Fits what is drawn.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_keops_gmm import MergeDisplay, MixtureClustering
    >>> X, _ = make_moons(500, noise=0.07, random_state=0)
    >>> clustering = MixtureClustering(random_state=0).fit(X)
    >>> display = MergeDisplay.from_estimator(clustering)
    >>> len(display.distances) == clustering.mixture_.n_components_ - 1
    True
    """

    def __init__(
        self, *, children: ArrayLike, distances: ArrayLike, labels: ArrayLike
    ) -> None:
        self.children = children
        self.distances = distances
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_clusters: int | None = None,
        distance_threshold: float | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw the tree of a clustering.

        Parameters
        ----------
        estimator : MixtureClustering
            Fitted, or a pipeline that ends in one.
        n_clusters : int, default=None
            Where to cut; as fitted if this and `distance_threshold` are None.
        distance_threshold : float, default=None
            Where to cut.
        ax : matplotlib Axes, default=None
            None makes new ones.
        **plot_kw
            Passed on to :meth:`plot`.

        Returns
        -------
        display : MergeDisplay

        Raises
        ------
        TypeError
            If `estimator` is no clustering.
        NotFittedError
            If it is not fitted.
        ValueError
            If there is no such cut.
        ImportError
            If matplotlib is missing.
        """
        estimator = fitted_last_step(
            estimator, "cut_tree", cls.__name__, "MixtureClustering"
        )
        labels = estimator.component_labels_
        if n_clusters is not None or distance_threshold is not None:
            labels = estimator.cut_tree(n_clusters, distance_threshold)
        display = cls(
            children=np.asarray(to_numpy(estimator.children_)),
            distances=np.asarray(to_numpy(estimator.distances_)),
            labels=np.asarray(to_numpy(labels)),
        )
        return display.plot(ax, **plot_kw)

    @checks_styles
    def plot(
        self, ax: Any = None, *, bracket_kw: Style = None, cut_kw: Style = None
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        bracket_kw : dict, default=None
            Passed on to :class:`matplotlib.collections.LineCollection`.
        cut_kw : dict, default=None
            Passed on to ``ax.axhline``.

        Returns
        -------
        self : MergeDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        from matplotlib.collections import LineCollection
        from matplotlib.lines import Line2D

        distances = np.asarray(self.distances, dtype=float)
        order, brackets = _layout(np.asarray(self.children), distances)
        colours = self._colours()
        default = {"colors": colours, "linewidths": 1.6, "capstyle": "projecting"}
        look = style(LineCollection, default, bracket_kw)
        self.brackets_ = self.ax_.add_collection(
            LineCollection(brackets, **look), autolim=False
        )
        default = {"color": _CUT, "linewidth": 1.2, "linestyle": "--"}
        self.cut_ = self.ax_.axhline(self._height(), **style(Line2D, default, cut_kw))
        top = distances[-1] if len(distances) else 1.0
        self.ax_.set_ylim(0, (1 + _HEADROOM) * max(top, self._height()))
        self.ax_.set_xlim(-0.7, len(order) - 0.3)
        self.ax_.set_xticks(range(len(order)), [str(i) for i in order])
        self.ax_.set(xlabel="component", ylabel="distance")
        return self

    def _height(self) -> float:
        """Return where the cut is drawn."""
        distances = np.asarray(self.distances, dtype=float)
        n_within = len(distances) + 1 - len(set(np.asarray(self.labels).tolist()))
        ends = np.concatenate(([0.0], distances))
        top = (1 + _HEADROOM) * ends[-1]
        above = distances[n_within] if n_within < len(distances) else top
        return float(ends[n_within] + above) / 2

    def _colours(self) -> list[Any]:
        """Return a colour for each merger: that of the cluster, or above the cut."""
        colours = cluster_colours(np.asarray(self.labels))
        for first, second in np.asarray(self.children):
            same = np.array_equal(colours[first], colours[second])
            colours.append(colours[first] if same else _ABOVE)
        return colours[len(np.asarray(self.labels)) :]


def _layout(
    children: np.ndarray, distances: np.ndarray
) -> tuple[list[int], list[np.ndarray]]:
    """Return components from left to right, and the corners of each bracket."""
    n = len(children) + 1
    leaves: list[list[int]] = [[i] for i in range(n)]
    for first, second in children:
        leaves.append(leaves[first] + leaves[second])
    order = leaves[-1]
    places = np.empty(2 * n - 1)
    places[order] = np.arange(n)
    heights = np.concatenate((np.zeros(n), distances))
    brackets = []
    for step, pair in enumerate(children):
        places[n + step] = places[pair].mean()
        x, low, high = places[pair], heights[pair], distances[step]
        brackets.append(np.column_stack((x.repeat(2), [low[0], high, high, low[1]])))
    return order, brackets
