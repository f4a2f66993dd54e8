"""The picture of a mixture over one or two of its features."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm._data import (
    checked_samples,
    fitted_model,
    resolve_features,
    to_numpy,
)
from sklearn_keops_gmm._display._style import Style, axes_for, cluster_colours, style
from sklearn_keops_gmm.backends import single_thread

_MARGIN = 0.06
_DATA, _DENSITY, _COMPONENTS = "#3b3b3b", "#1f5f99", "#c1272d"


class MixtureDisplay:
    """Density, sample and components of a mixture over one or two features.

    Two features: the density as a heat map, contours of its logarithm, the sample,
    and the components, each an ellipse with a dot whose area is its weight. Colours
    go with the square root of the density, so that broad components show beside
    narrow ones. One feature: a histogram of the sample, the density, and its
    components.

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
        The cluster of each sample drawn, of two features; -1 is grey.

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

    See Also
    --------
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
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a fitted mixture and a sample over one or two features.

        Parameters
        ----------
        estimator : KeOpsGaussianMixture or MixtureClustering
            Fitted. Over more features than are drawn it is marginalised. Components
            and samples of a clustering are coloured by cluster.
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
            If `features` are unknown, or more than two, or a number is too small.
        ImportError
            If matplotlib is missing.
        """
        ax = axes_for(ax, f"{cls.__name__}.from_estimator")
        whole = _mixture_of(cls, estimator)
        _check_sizes(grid_resolution, subsample)
        chosen, names = _features_to_draw(whole, features)
        # Pictures are drawn from numpy arrays, whatever the arrays of the user.
        with sklearn.config_context(array_api_dispatch=False):
            samples = checked_samples(
                whole, to_numpy(X), reset=False, dtype=[np.float64, np.float32]
            )[:, chosen]
            rows = _rows_to_draw(samples, subsample)
            mixture = whole.marginal(chosen)
            vars(mixture).pop("feature_names_in_", None)  # a grid has none
            ticks = tuple(_ticks(column, grid_resolution) for column in samples.T)
            grid = np.stack(np.meshgrid(*ticks), axis=-1)
            log_density = mixture.score_samples(grid.reshape(-1, len(chosen)))
            clusters = _clusters_of(estimator, X, rows)
        model = fitted_model(mixture)
        display = cls(
            ticks=ticks,
            log_density=log_density.reshape(grid.shape[:-1]),
            samples=samples[rows],
            weights=model.parameters.weights.numpy().copy(),
            means=model.parameters.means.numpy().copy(),
            covariances=model.matrices.numpy().copy(),
            feature_names=names,
            **clusters,
        )
        return display.plot(ax, **plot_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        n_std: float = 2.0,
        bins: Any = "auto",
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
            Of the histogram, as in :func:`numpy.histogram_bin_edges`.
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
        check_scalar(n_std, "n_std", Real, min_val=0, include_boundaries="neither")
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        if len(self.ticks) == 1:
            self._plot_histogram(bins, sample_kw)
            self._plot_curves(density_kw, component_kw)
        else:
            self._plot_density(density_kw, contour_kw)
            self._plot_samples(sample_kw)
            self._plot_ellipses(n_std, component_kw, dot_kw)
        return self

    def _colours(self) -> Any:
        """Return the colour of all components, or that of each."""
        labels = self.component_labels
        return _COMPONENTS if labels is None else cluster_colours(labels)

    # -- one feature -----------------------------------------------------------------

    def _plot_histogram(self, bins: Any, given: Style) -> None:
        from matplotlib.patches import StepPatch

        (ticks,), sample = self.ticks, self.samples[:, 0]
        heights, edges = np.histogram(sample, bins)
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
        look = style(Line2D, {"color": _DENSITY, "linewidth": 2.0}, density_kw)
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
        if self.component_labels is not None:
            # So that the colours of clusters show.
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
        colour = _DATA if labels is None else cluster_colours(labels)
        look = style(
            PathCollection, {"color": colour, "linewidths": 0, "alpha": 0.7}, given
        )
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


def _mixture_of(cls: type, estimator: Any) -> Any:
    """Return a fitted mixture: the estimator, or that of a clustering."""
    if not (hasattr(estimator, "marginal") or hasattr(estimator, "cut_tree")):
        raise TypeError(
            f"'estimator' of {cls.__name__} must be a fitted KeOpsGaussianMixture; "
            f"got {type(estimator).__name__}. KeOpsGaussianMixture.from_sklearn "
            "converts scikit-learn's mixture; of a pipeline, give the last step and "
            "the data as transformed by the others."
        )
    check_is_fitted(estimator)
    return estimator if hasattr(estimator, "marginal") else estimator.mixture_


def _clusters_of(estimator: Any, X: Any, rows: Any) -> dict[str, np.ndarray]:
    """Return the clusters of components and of samples to draw, if there are some."""
    if not hasattr(estimator, "cut_tree"):
        return {}
    labels = estimator.component_labels_, estimator.predict(to_numpy(X))
    components, samples = (np.array(to_numpy(some)) for some in labels)
    return {"component_labels": components, "sample_labels": samples[rows]}


def _check_sizes(grid_resolution: int, subsample: int | None) -> None:
    check_scalar(grid_resolution, "grid_resolution", Integral, min_val=2)
    if subsample is not None:
        check_scalar(subsample, "subsample", Integral, min_val=1)


def _features_to_draw(estimator: Any, features: Any) -> tuple[list[int], list[str]]:
    """Return the indices of one feature or two, and what axes call them."""
    n_features = estimator.means_.shape[1]
    names = getattr(estimator, "feature_names_in_", None)
    if features is None:
        features = list(range(min(2, n_features)))
    chosen = resolve_features(features, n_features, names)
    if len(chosen) > 2:
        raise ValueError(
            f"'features' must be one feature or two; got {len(chosen)}: {features!r}."
        )
    return chosen, [f"feature {i}" if names is None else str(names[i]) for i in chosen]


def _rows_to_draw(samples: np.ndarray, most: int | None) -> Any:
    """Return at most so many rows of two-dimensional samples; all of others."""
    if samples.shape[1] != 2 or most is None or most >= len(samples):
        return slice(None)
    return np.linspace(0, len(samples) - 1, most, dtype=int)


def _ticks(column: np.ndarray, resolution: int) -> np.ndarray:
    """Return points that cover a sample and a margin around it."""
    low, high = float(column.min()), float(column.max())
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
