"""The picture of a mixture over one or two of its features."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar
from sklearn.utils._optional_dependencies import check_matplotlib_support

from sklearn_keops_gmm._data import check_positive, fitted_model
from sklearn_keops_gmm._display._one_feature import bin_edges, curve_ticks
from sklearn_keops_gmm._display._style import (
    Style,
    axes_for,
    checks_styles,
    cluster_colours,
    style,
)
from sklearn_keops_gmm._display._subject import Subject, rows_to_draw, subject_of
from sklearn_keops_gmm.backends import single_thread

_MARGIN = 0.06
_DATA, _DENSITY, _COMPONENTS = "#3b3b3b", "#0072b2", "#d55e00"
# More numbers, or entries of a legend, would hide what they are about.
_MOST_NUMBERS, _MOST_IN_LEGEND = 20, 10


class MixtureDisplay:
    """Density, sample and components of a mixture over one or two features.

    Two features: the density as a heat map, contours of its logarithm, the sample,
    and the components, each an ellipse with its number and a dot whose area is its
    weight. Colours go with the square root of the density, so that broad components
    show beside narrow ones. One feature: a histogram of the sample, the density, and
    its components.

    It is recommended to use :meth:`from_estimator` to create one. All parameters
    are stored as attributes.

    Parameters
    ----------
    ticks : tuple of one or two ndarrays
        Where the density is known, along each feature; the limits of the axes.
    log_density : ndarray of shape (len(ticks[0]),) or (len(ticks[1]), len(ticks[0]))
        Natural logarithm of the density.
    samples : ndarray of shape (n_samples, n_features)
        With one feature, all of the sample; with two, the points to draw.
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray of shape (n_components, n_features, n_features)
    feature_names : sequence of str
        Labels of the axes.
    component_labels : ndarray of shape (n_components,), default=None
        The cluster of each component, which gives it its colour.
    sample_labels : ndarray of shape (n_samples,), default=None
        The label of each sample drawn, of two features; -1 is grey.
    label_names : sequence of str, default=None
        What the legend calls the labels.
    sample_values : ndarray of shape (n_samples,), default=None
        Numbers, instead of labels, that colour the samples.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    density_ : matplotlib AxesImage or Line2D
        The heat map, or the curve.
    components_ : matplotlib LineCollection
        The ellipses, or a curve for each component.
    contours_ : matplotlib QuadContourSet
        Of two features only, like the two that follow.
    samples_ : matplotlib PathCollection
    dots_ : matplotlib PathCollection
    histogram_ : matplotlib StepPatch
        Of one feature only.
    numbers_ : list of matplotlib Text
        Of the components; empty where they are not numbered.
    legend_ : matplotlib Legend or None
    colorbar_ : matplotlib Colorbar or None

    See Also
    --------
    PairsDisplay : All pairs of some features.
    CostDisplay : The cost along a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import KeOpsGaussianMixture, MixtureDisplay
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [1, 2, 3]
    >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
    >>> display = MixtureDisplay.from_estimator(mixture, X, features=(2, 0))
    >>> display.ax_.get_xlabel()
    'feature 2'
    """

    def __init__(
        self,
        *,
        ticks: tuple[np.ndarray, ...],
        log_density: np.ndarray,
        samples: np.ndarray,
        weights: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray,
        feature_names: Sequence[str],
        component_labels: np.ndarray | None = None,
        sample_labels: np.ndarray | None = None,
        label_names: Sequence[str] | None = None,
        sample_values: np.ndarray | None = None,
    ) -> None:
        self.ticks = ticks
        self.log_density = log_density
        self.samples = samples
        self.weights = weights
        self.means = means
        self.covariances = covariances
        self.feature_names = feature_names
        self.component_labels = component_labels
        self.sample_labels = sample_labels
        self.label_names = label_names
        self.sample_values = sample_values

    @classmethod
    @single_thread()
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        features: Any = None,
        grid_resolution: int = 200,
        subsample: int | None = 2000,
        color_by: Any = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a fitted mixture and a sample over one or two features.

        Parameters
        ----------
        estimator : KeOpsGaussianMixture, KeOpsGaussianMixtureCV or MixtureClustering
            Fitted, or a pipeline that ends in one: then what the steps before it make
            of `X` is drawn. Over more features than are drawn it is marginalised.
        X : array-like of shape (n_samples, n_features)
            The sample, with all features of the fit.
        features : int, str, or sequence of one or two of them, default=None
            Indices or names of the features to draw. None is the first two, or
            the only one.
        grid_resolution : int, default=200
            The number of points along each feature where the density is computed.
        subsample : int or None, default=2000
            Of two features no more points than this are drawn, from rows at
            regular distances; None draws all.
        color_by : {'component', 'uncertainty'} or array-like of shape (n_samples,), \
default=None
            What samples are coloured by: their most probable component, the
            probability that they are of another one, or labels of one's own. None is
            the cluster, of a clustering.
        ax : matplotlib Axes, default=None
            None makes new ones.
        **plot_kw
            Passed on to :meth:`plot`.

        Returns
        -------
        display : MixtureDisplay

        Raises
        ------
        TypeError
            If `estimator` is not of this package, or a number is none.
        NotFittedError
            If it is not fitted.
        ValueError
            If `features` are unknown, or more than two, or a number is too small; or
            if there is not a label for each sample, or no sample of which the features
            are observed.
        ImportError
            If matplotlib is missing.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        _check_sizes(grid_resolution, subsample)
        subject = subject_of(cls.__name__, estimator, X, color_by)
        chosen = subject.features(features, 2, "one feature or two")
        display = cls(**data_of(subject, chosen, grid_resolution, subsample))
        return display.plot(ax, **plot_kw)

    @checks_styles
    def plot(
        self,
        ax: Any = None,
        *,
        n_std: float = 2.0,
        bins: Any = "auto",
        legend: bool = True,
        numbers: bool | None = None,
        colorbar: bool = False,
        density_kw: Style = None,
        contour_kw: Style = None,
        sample_kw: Style = None,
        component_kw: Style = None,
        dot_kw: Style = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        n_std : float, default=2.0
            Ellipses hold the points within so many standard deviations, 86 % of a
            component for 2.
        bins : int, sequence or str, default="auto"
            Of the histogram, as in :func:`numpy.histogram_bin_edges`. 'auto' makes 200
            at most, and of values such as integers bins of as many values each.
        legend : bool, default=True
            Whether to say what is what.
        numbers : bool, default=None
            Whether to number the components, of two features; None does where there
            are no more than 20.
        colorbar : bool, default=False
            Whether to add the scale of the density, of two features. That of
            uncertainties is always there.
        density_kw : dict, default=None
            Passed on to ``ax.imshow``, or ``ax.plot`` for one feature.
        contour_kw : dict, default=None
            Passed on to ``ax.contour``.
        sample_kw : dict, default=None
            Passed on to ``ax.scatter``, or ``ax.stairs`` for one feature.
        component_kw : dict, default=None
            Passed on to :class:`matplotlib.collections.LineCollection`.
        dot_kw : dict, default=None
            Passed on to ``ax.scatter``.

        Returns
        -------
        self : MixtureDisplay

        Raises
        ------
        TypeError, ValueError
            If `n_std` is not a positive number.
        ImportError
            If matplotlib is missing.
        """
        check_positive(n_std, "n_std")
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        self.numbers_: list[Any] = []
        self.legend_ = self.colorbar_ = None
        if len(self.ticks) == 1:
            self._plot_histogram(bins, sample_kw)
            self._plot_curves(density_kw, component_kw)
        else:
            self._plot_density(density_kw, contour_kw)
            self._plot_samples(sample_kw)
            self._plot_ellipses(n_std, component_kw, dot_kw)
            if numbers or (numbers is None and len(self.means) <= _MOST_NUMBERS):
                self._plot_numbers()
            self._plot_colorbar(colorbar)
        if legend:
            self._plot_legend(n_std)
        return self

    @property
    def _coloured(self) -> bool:
        """Whether samples have colours, beside which others would not show."""
        return self.sample_labels is not None or self.sample_values is not None

    def _colours(self) -> Any:
        """Return the colour of all components, or that of each."""
        if self.component_labels is not None:
            return cluster_colours(self.component_labels)
        return "black" if self._coloured and len(self.ticks) == 2 else _COMPONENTS

    # -- one feature -----------------------------------------------------------------

    def _plot_histogram(self, bins: Any, given: Style) -> None:
        from matplotlib.patches import StepPatch

        (ticks,), sample = self.ticks, self.samples[:, 0]
        heights, edges = np.histogram(sample, bin_edges(sample, bins))
        heights = heights / (len(sample) * np.diff(edges))
        look = style(StepPatch, {"fill": True, "facecolor": "0.87"}, given)
        self.histogram_ = self.ax_.stairs(heights, edges, **look)
        self.ax_.set(xlim=ticks[[0, -1]], ylabel="density")
        self.ax_.set_xlabel(self.feature_names[0])

    def _plot_curves(self, density_kw: Style, component_kw: Style) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.lines import Line2D

        (ticks,), variances = self.ticks, self.covariances[:, 0, 0, None]
        squares = (ticks - self.means) ** 2 / variances  # (M, resolution)
        scales = self.weights[:, None] / np.sqrt(2 * np.pi * variances)
        curves = scales * np.exp(-0.5 * squares)
        look = style(
            LineCollection, {"colors": self._colours(), "linewidths": 1.0}, component_kw
        )
        lines = [np.column_stack((ticks, curve)) for curve in curves]
        self.components_ = self.ax_.add_collection(
            LineCollection(lines, **look), autolim=False
        )
        # Not the colour of a cluster beside them.
        colour = _DENSITY if self.component_labels is None else "black"
        look = style(Line2D, {"color": colour, "linewidth": 2.0}, density_kw)
        (self.density_,) = self.ax_.plot(ticks, np.exp(self.log_density), **look)

    # -- two features ----------------------------------------------------------------

    def _plot_density(self, density_kw: Style, contour_kw: Style) -> None:
        from matplotlib.colors import PowerNorm
        from matplotlib.image import AxesImage

        x, y = self.ticks
        half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2  # ticks are middles of pixels
        extent = x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1]
        given = density_kw or {}
        default: dict[str, Any] = {"cmap": "Oranges", "interpolation": "bilinear"}
        if self._coloured:
            default.update(cmap="Greys", alpha=0.45)
        if not {"norm", "vmin", "vmax"} & given.keys():
            default["norm"] = PowerNorm(0.5)
        look = style(AxesImage, {"aspect": "auto", **default}, given)
        density = np.exp(self.log_density)
        self.density_ = self.ax_.imshow(density, origin="lower", extent=extent, **look)
        default = {
            "levels": _levels(self.log_density),
            "colors": _DENSITY,
            "linestyles": "solid",
            "linewidths": 0.7,
            "alpha": 0.5,
        }
        self.contours_ = self.ax_.contour(
            x, y, self.log_density, **{**default, **(contour_kw or {})}
        )
        self.ax_.set(xlim=extent[:2], ylim=extent[2:])
        self.ax_.set(xlabel=self.feature_names[0], ylabel=self.feature_names[1])

    def _plot_samples(self, given: Style) -> None:
        from matplotlib.collections import PathCollection

        labels = self.sample_labels
        default: dict[str, Any] = {"linewidths": 0, "alpha": 0.7}
        if self.sample_values is not None:
            # Those of highest value last: they are few, and to be seen.
            default |= {"c": self.sample_values, "cmap": "cividis_r"}
            default |= {"alpha": 0.9}
        else:
            default["color"] = _DATA if labels is None else cluster_colours(labels)
        look = style(PathCollection, default, given)
        look.setdefault("s", float(np.clip(6000 / len(self.samples), 2.5, 12)))
        self.samples_ = self.ax_.scatter(*self.samples.T, **look)

    def _plot_ellipses(self, n_std: float, component_kw: Style, dot_kw: Style) -> None:
        from matplotlib.collections import LineCollection, PathCollection

        angles = np.linspace(0, 2 * np.pi, 100)
        circle = n_std * np.stack((np.cos(angles), np.sin(angles)))  # (2, 100)
        roots = np.linalg.cholesky(self.covariances)  # (M, 2, 2)
        ellipses = self.means[:, None, :] + np.swapaxes(roots @ circle, 1, 2)
        look = style(
            LineCollection, {"colors": self._colours(), "linewidths": 1.6}, component_kw
        )
        self.components_ = self.ax_.add_collection(
            LineCollection(list(ellipses), **look), autolim=False
        )
        default = {"color": self._colours(), "edgecolors": "white", "linewidths": 0.8}
        look = style(PathCollection, default | {"zorder": 3}, dot_kw)
        look.setdefault("s", 450 * self.weights)
        self.dots_ = self.ax_.scatter(*self.means.T, **look)

    def _plot_numbers(self) -> None:
        from matplotlib.patheffects import withStroke

        for j, place in enumerate(self.means):
            number = self.ax_.annotate(
                str(j),
                place,
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=9,
                fontweight="bold",
                path_effects=[withStroke(linewidth=2.0, foreground="white")],
                annotation_clip=True,
                zorder=4,
            )
            self.numbers_.append(number)

    # -- what is what ----------------------------------------------------------------

    def _plot_colorbar(self, density: bool) -> None:
        if self.sample_values is not None:
            self.colorbar_ = self.figure_.colorbar(
                self.samples_, ax=self.ax_, label="uncertainty"
            )
        elif density:
            self.colorbar_ = self.figure_.colorbar(
                self.density_, ax=self.ax_, label="density"
            )

    def _plot_legend(self, n_std: float) -> None:
        handles, texts = self.legend_entries(n_std)
        if 0 < len(handles) <= _MOST_IN_LEGEND:
            self.legend_ = self.ax_.legend(handles, texts, fontsize="small")

    def legend_entries(self, n_std: float = 2.0) -> tuple[list[Any], list[str]]:
        """Return what the legend shows, and what it says, once it is drawn."""
        from matplotlib.lines import Line2D

        alone, labels = len(self.ticks) == 1, self.sample_labels
        if alone:
            labels = self.component_labels
        point: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5}
        components = "components" if alone else f"components, {n_std:g} std"
        handles: list[Any] = []
        texts: list[str] = []
        if alone:
            handles, texts = [self.histogram_, self.density_], ["sample", "density"]
        elif labels is None and self.sample_values is None:
            handles, texts = [Line2D([], [], color=_DATA, **point)], ["sample"]
        if labels is not None:
            names, shown = self._names(labels)
            look = {"linewidth": 1.0} if alone else point
            colours = cluster_colours(shown)
            return (
                handles + [Line2D([], [], color=one, **look) for one in colours],
                texts + names,
            )
        line = Line2D([], [], color=self._colours(), linewidth=1.0 if alone else 1.6)
        return [*handles, line], [*texts, components]

    def _names(self, labels: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return what labels are called, and one of each: their number gives colours.

        Labels of which no sample is drawn are among them.
        """
        names = list(self.label_names or map(str, range(int(labels.max()) + 1)))
        shown = np.arange(len(names))
        if (labels < 0).any():
            return [*names, "none"], np.append(shown, -1)
        return names, shown


def data_of(
    subject: Subject,
    chosen: list[int],
    grid_resolution: int,
    subsample: int | None,
) -> dict[str, Any]:
    """Return the parameters of a display of some features, by their indices."""
    samples = subject.samples[:, chosen]
    names = [subject.names[i] for i in chosen]
    rows = rows_to_draw(samples, subsample, names)
    with sklearn.config_context(array_api_dispatch=False):
        mixture = subject.mixture.marginal(chosen)
        vars(mixture).pop("feature_names_in_", None)  # a grid has none
        model = fitted_model(mixture)
        means, matrices = model.parameters.means.numpy(), model.matrices.numpy()
        ticks = tuple(_ticks(column, grid_resolution) for column in samples.T)
        if len(ticks) == 1:
            ticks = (curve_ticks(ticks[0], means[:, 0], matrices[:, 0, 0]),)
        grid = np.stack(np.meshgrid(*ticks), axis=-1)
        log_density = mixture.score_samples(grid.reshape(-1, len(chosen)))
    return {
        "ticks": ticks,
        "log_density": log_density.reshape(grid.shape[:-1]),
        "samples": samples[rows],
        "weights": model.parameters.proportions.numpy().copy(),
        "means": means.copy(),
        "covariances": matrices.copy(),
        "feature_names": names,
        **subject.colouring.of_rows(rows),
    }


def _check_sizes(grid_resolution: int, subsample: int | None) -> None:
    check_scalar(grid_resolution, "grid_resolution", Integral, min_val=2)
    if subsample is not None:
        check_scalar(subsample, "subsample", Integral, min_val=1)


def _ticks(column: np.ndarray, resolution: int) -> np.ndarray:
    """Return points that cover a sample and a margin around it."""
    low, high = float(np.nanmin(column)), float(np.nanmax(column))
    margin = _MARGIN * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, resolution)


def _levels(log_density: np.ndarray) -> np.ndarray:
    """Return where a single Gaussian has its contours at regular distances.

    They are about a standard deviation apart, or more where the range is wide.
    """
    top, bottom = log_density.max(), log_density[np.isfinite(log_density)].min()
    farthest = np.sqrt(2 * (top - bottom))
    distances = np.linspace(0, farthest, int(np.clip(farthest, 3, 9)) + 1)[1:-1]
    return np.unique(top - 0.5 * distances**2)
