"""The criterion of all mixtures that were compared."""

from __future__ import annotations

from collections.abc import Sequence
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

_MARKERS = "osD^v<>P"
# A legend of so many curves has two columns.
_MANY = 4
# Curves keep so much of the height, however small the axes.
_LEAST_SHARE = 0.4
_NAMES = {
    "lic": "LIC",
    "bic": "BIC",
    "icl": "ICL",
    "cv": "minus held-out log-likelihood",
}


class CriterionDisplay:
    """The criterion against the number of components, a curve for each type.

    The lower the better; a ring marks the mixture that was chosen. With 'cv' bars
    show the standard errors of means over folds, of the type that was chosen.

    It is recommended to use :meth:`from_estimator` to create one. All parameters are
    stored as attributes.

    Parameters
    ----------
    n_components : array-like of shape (n_compared,)
    criterion : array-like of shape (n_compared,)
    covariance_types : sequence of str, of length n_compared
    chosen : tuple of (int, str)
        The number of components and the type that were chosen.
    standard_errors : array-like of shape (n_compared,), default=None
        nan where there is none.
    criterion_name : str, default="criterion"
        The label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    curves_ : dict of str to matplotlib Line2D
        By covariance type.
    chosen_ : matplotlib Line2D
        The ring.
    bars_ : matplotlib ErrorbarContainer or None

    See Also
    --------
    KeOpsGaussianMixtureCV : Chooses what is marked.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import CriterionDisplay, KeOpsGaussianMixtureCV
    >>> X = np.random.default_rng(0).normal([[-4.0]] * 200 + [[4.0]] * 200)
    >>> choice = KeOpsGaussianMixtureCV(5, random_state=0).fit(X)
    >>> display = CriterionDisplay.from_estimator(choice)
    >>> display.chosen
    (2, 'full')
    """

    def __init__(
        self,
        *,
        n_components: ArrayLike,
        criterion: ArrayLike,
        covariance_types: Sequence[str],
        chosen: tuple[int, str],
        standard_errors: ArrayLike | None = None,
        criterion_name: str = "criterion",
    ) -> None:
        self.n_components = n_components
        self.criterion = criterion
        self.covariance_types = covariance_types
        self.chosen = chosen
        self.standard_errors = standard_errors
        self.criterion_name = criterion_name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **plot_kw: Any) -> Self:
        """Draw the comparison that a choice has made.

        Parameters
        ----------
        estimator : KeOpsGaussianMixtureCV or MixtureClustering
            Fitted, or a pipeline that ends in one.
        ax : matplotlib Axes, default=None
            None makes new ones.
        **plot_kw
            Passed on to :meth:`plot`.

        Returns
        -------
        display : CriterionDisplay

        Raises
        ------
        TypeError
            If `estimator` compares no mixtures.
        NotFittedError
            If it is not fitted.
        ImportError
            If matplotlib is missing.
        """
        kinds = "KeOpsGaussianMixtureCV or MixtureClustering"
        estimator = fitted_last_step(estimator, "criterion", cls.__name__, kinds)
        results, found = estimator.results_, estimator.mixture_
        display = cls(
            n_components=results["n_components"],
            criterion=results["criterion"],
            covariance_types=results["covariance_type"].tolist(),
            chosen=(found.n_components_, found.covariance_type_),
            standard_errors=_standard_errors(estimator),
            criterion_name=_NAMES[estimator.criterion],
        )
        return display.plot(ax, **plot_kw)

    @checks_styles
    def plot(
        self, ax: Any = None, *, line_kw: Style = None, chosen_kw: Style = None
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        line_kw : dict, default=None
            Passed on to ``ax.plot`` for each curve.
        chosen_kw : dict, default=None
            Passed on to ``ax.plot`` for the ring.

        Returns
        -------
        self : CriterionDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        from matplotlib.lines import Line2D

        types = list(dict.fromkeys(self.covariance_types))
        colours = cluster_colours(np.arange(len(types)))
        self.curves_ = {}
        for i, name in enumerate(types):
            look = {"color": colours[i], "marker": _MARKERS[i % len(_MARKERS)]}
            look |= {"markersize": 4, "linewidth": 1.5, "label": name}
            of_type = self._of_type(name)
            (self.curves_[name],) = self.ax_.plot(
                *(column[of_type] for column in self._columns()),
                **style(Line2D, look, line_kw),
            )
        self._plot_bars()
        self._plot_chosen(chosen_kw)
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        counts, _ = self._columns()
        if counts.min() == counts.max():  # or ticks would lie between integers
            self.ax_.set_xlim(counts[0] - 1, counts[0] + 1)
        self.ax_.set(xlabel="components", ylabel=self.criterion_name)
        self._plot_legend()
        return self

    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.n_components), np.asarray(self.criterion)

    def _of_type(self, name: str) -> np.ndarray:
        return np.array([kind == name for kind in self.covariance_types])

    def _plot_legend(self) -> None:
        """Write the legend above all curves, in room that is made for it."""
        columns = 1 if len(self.curves_) < _MANY else 2
        legend = self.ax_.legend(
            title="the lower the better",
            fontsize="small",
            loc="upper right" if columns == 1 else "upper center",
            ncols=columns,
        )
        box = legend.get_window_extent().transformed(self.ax_.transAxes.inverted())
        low, high = self.ax_.get_ylim()
        self.ax_.set_ylim(low, low + (high - low) / max(box.y0, _LEAST_SHARE))

    def _plot_bars(self) -> None:
        self.bars_ = None
        if self.standard_errors is None:
            return
        known = np.isfinite(np.asarray(self.standard_errors))
        counts, values = (column[known] for column in self._columns())
        colour = self.curves_[self.chosen[1]].get_color()
        self.bars_ = self.ax_.errorbar(
            counts,
            values,
            np.asarray(self.standard_errors)[known],
            fmt="none",
            ecolor=colour,
            elinewidth=1.0,
            capsize=2.5,
        )

    def _plot_chosen(self, given: Style) -> None:
        from matplotlib.lines import Line2D

        count, name = self.chosen
        counts, values = self._columns()
        at = np.flatnonzero(self._of_type(name) & (counts == count))
        default = {"marker": "o", "markersize": 12, "markerfacecolor": "none"}
        default |= {"markeredgewidth": 2.0, "markeredgecolor": "black"}
        default |= {
            "clip_on": False,
            "linestyle": "none",
            "label": f"chosen: {count} {name}",
        }
        look = style(Line2D, default, given)
        (self.chosen_,) = self.ax_.plot(counts[at], values[at], **look)


def _standard_errors(estimator: Any) -> np.ndarray | None:
    """Return those of the criterion where it is a mean over folds; nan elsewhere."""
    if getattr(estimator, "scores_", None) is None:
        return None
    scores = np.asarray(to_numpy(estimator.scores_))
    if scores.shape[1] < 2:
        return None
    errors = np.full(len(estimator.results_["criterion"]), np.nan)
    of_type = estimator.results_["covariance_type"] == estimator.covariance_type_
    errors[of_type] = scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    return errors
