"""The number of components and the score along a sparsity path."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm._display._style import (
    Style,
    axes_for,
    checks_styles,
    last_step,
    style,
)

_COUNTS, _SCORES, _CHOSEN = "#0072b2", "#d55e00", "0.9"


class SparsityPathDisplay:
    """How many components live, and how well they fit, for each sparsity.

    It is recommended to use :meth:`from_path` to create one. All parameters are
    stored as attributes.

    Parameters
    ----------
    sparsities : array-like of shape (K,)
        Where each mixture of the path begins to be the best one, ascending; the
        last is the best from there on.
    n_components : array-like of shape (K,)
        The number of components of each.
    scores : array-like of shape (K,)
        What is drawn on the right-hand axis.
    costs : array-like of shape (K,), default=None
        Kept with the rest, not drawn.
    score_name : str, default="mean log-likelihood"
        The label of the right-hand axis.
    chosen : int, default=None
        The number of components that was chosen, which is marked.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Of the components.
    score_ax_ : matplotlib Axes
        Of the score, on the right.
    figure_ : matplotlib Figure
    components_ : matplotlib StepPatch
    score_ : matplotlib Line2D
    chosen_ : matplotlib Artist or None
        The sparsities of the mixture that was chosen as a band; where it costs least
        at none, its number as a line.

    See Also
    --------
    sparsity_path : Fits what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import SparsityPathDisplay, sparsity_path
    >>> X = np.random.default_rng(0).normal([[-4.0]] * 200 + [[4.0]] * 200)
    >>> display = SparsityPathDisplay.from_path(sparsity_path(X, 3, random_state=0))
    >>> display.n_components
    array([3, 2, 1])
    """

    def __init__(
        self,
        *,
        sparsities: ArrayLike,
        n_components: ArrayLike,
        scores: ArrayLike,
        costs: ArrayLike | None = None,
        score_name: str = "mean log-likelihood",
        chosen: int | None = None,
    ) -> None:
        self.sparsities = sparsities
        self.n_components = n_components
        self.scores = scores
        self.costs = costs
        self.score_name = score_name
        self.chosen = chosen

    @classmethod
    def from_path(cls, path: Any, *, ax: Any = None, **plot_kw: Any) -> Self:
        """Draw a path.

        Parameters
        ----------
        path : SparsityPath or KeOpsGaussianMixtureCV
            Mixtures that cost least at no sparsity are left out. Of an estimator, or a
            pipeline that ends in one, the mixture that was chosen is marked.
        ax : matplotlib Axes, default=None
            None makes new ones.
        **plot_kw
            Passed on to :meth:`plot`.

        Returns
        -------
        display : SparsityPathDisplay

        Raises
        ------
        TypeError
            If `path` is not a path.
        NotFittedError
            If it is an estimator that is not fitted.
        ImportError
            If matplotlib is missing.
        """
        found = last_step(path)
        # What chooses from a path, fitted or not.
        if hasattr(found, "one_standard_error"):
            check_is_fitted(found)
        chosen = getattr(found, "n_components_", None)
        found = getattr(found, "path_", found)
        if not hasattr(found, "sparsities"):
            raise TypeError(
                "'path' must be a SparsityPath or a fitted KeOpsGaussianMixtureCV; got "
                f"{type(path).__name__}."
            )
        path = found
        starts = np.asarray(path.sparsities)[:, 0]
        seen = np.flatnonzero(np.isfinite(starts))
        display = cls(
            sparsities=starts[seen],
            n_components=path.n_components[seen],
            scores=path.scores[seen],
            costs=path.costs[seen],
            chosen=chosen,
        )
        return display.plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **plot_kw: Any) -> Self:
        """Draw the path of an estimator, and mark what was chosen.

        Parameters
        ----------
        estimator : KeOpsGaussianMixtureCV
            Fitted, or a pipeline that ends in one.
        ax : matplotlib Axes, default=None
            None makes new ones.
        **plot_kw
            Passed on to :meth:`plot`.

        Returns
        -------
        display : SparsityPathDisplay

        Raises
        ------
        TypeError
            If `estimator` has no path.
        NotFittedError
            If it is not fitted.
        ImportError
            If matplotlib is missing.
        """
        return cls.from_path(estimator, ax=ax, **plot_kw)

    @checks_styles
    def plot(
        self, ax: Any = None, *, component_kw: Style = None, score_kw: Style = None
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        component_kw : dict, default=None
            Passed on to ``ax.stairs``.
        score_kw : dict, default=None
            Passed on to ``ax.plot``.

        Returns
        -------
        self : SparsityPathDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        if ax is None:
            # Or the label on the right would be cut off.
            self.figure_.set_layout_engine("constrained")
        from matplotlib.lines import Line2D
        from matplotlib.patches import StepPatch

        knots = np.asarray(self.sparsities, dtype=float)
        positive = knots[knots > 0]
        # The last mixture's interval has no end; a decade is drawn of it.
        edges = np.append(knots, 10 * positive[-1] if len(positive) else 1.0)
        look = style(StepPatch, {"color": _COUNTS, "linewidth": 1.8}, component_kw)
        counts = np.asarray(self.n_components)
        self.components_ = self.ax_.stairs(counts, edges, baseline=None, **look)
        self.ax_.set(xlabel="sparsity", xlim=edges[[0, -1]])
        self.ax_.set_ylim(0, 1.05 * max(counts))
        self.ax_.yaxis.get_major_locator().set_params(integer=True)
        self.ax_.set_ylabel("components", color=_COUNTS)
        if len(positive):
            threshold = 10 ** np.floor(np.log10(positive[0]))
            self.ax_.set_xscale("symlog", linthresh=threshold, linscale=0.5)
            self.ax_.xaxis.set_major_formatter("{x:g}")
        self.chosen_ = None if self.chosen is None else self._plot_chosen(edges)
        self.score_ax_ = self.ax_.twinx()
        default = {"color": _SCORES, "linewidth": 1.4, "drawstyle": "steps-post"}
        look = style(Line2D, default, score_kw)
        scores = np.append(self.scores, np.asarray(self.scores)[-1])
        (self.score_,) = self.score_ax_.plot(edges, scores, **look)
        self.score_ax_.set_ylabel(self.score_name, color=_SCORES)
        return self

    def _plot_chosen(self, edges: np.ndarray) -> Any:
        """Mark the mixture that was chosen, and return the mark."""
        (at,) = np.nonzero(np.asarray(self.n_components) == self.chosen)
        said = f"chosen: {self.chosen}"
        if len(at):
            mark = self.ax_.axvspan(
                edges[at[0]], edges[at[0] + 1], color=_CHOSEN, zorder=0, label=said
            )
        else:
            mark = self.ax_.axhline(
                self.chosen, color="0.5", linestyle=":", zorder=0, label=said
            )
        self.ax_.legend(loc="upper right")
        return mark
