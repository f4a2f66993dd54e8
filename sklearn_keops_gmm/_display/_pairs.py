"""A mixture of many features, seen through two of them at a time."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support

from sklearn_keops_gmm._display._mixture import MixtureDisplay, data_of
from sklearn_keops_gmm._display._style import checks_styles
from sklearn_keops_gmm._display._subject import subject_of
from sklearn_keops_gmm.backends import single_thread

# More panels than those of so many features cannot be read.
_MOST = 6


class PairsDisplay:
    """Each feature alone, and each two of some, in a triangle of pictures.

    On the diagonal are histograms with the density of one feature, below it the
    density over two, as :class:`MixtureDisplay` draws them.

    It is recommended to use :meth:`from_estimator` to create one. All parameters are
    stored as attributes.

    Parameters
    ----------
    displays : dict of (int, int) to MixtureDisplay
        By row and column of the triangle.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of shape (n_features, n_features) of matplotlib Axes
        Those above the diagonal are not seen.

    See Also
    --------
    MixtureDisplay : One or two features.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_keops_gmm import KeOpsGaussianMixture, PairsDisplay
    >>> X = load_iris().data
    >>> mixture = KeOpsGaussianMixture(3, random_state=0).fit(X)
    >>> display = PairsDisplay.from_estimator(mixture, X, grid_resolution=30)
    >>> display.axes_.shape
    (4, 4)
    """

    def __init__(self, *, displays: dict[tuple[int, int], MixtureDisplay]) -> None:
        self.displays = displays

    @classmethod
    @single_thread()
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        features: Any = None,
        grid_resolution: int = 80,
        subsample: int | None = 1000,
        color_by: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a fitted mixture and a sample over all pairs of features.

        Parameters
        ----------
        estimator : KeOpsGaussianMixture, KeOpsGaussianMixtureCV or MixtureClustering
            Fitted, or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            The sample, with all features of the fit.
        features : sequence of int or str, default=None
            Indices or names. None is the first six, or all if there are fewer.
        grid_resolution : int, default=80
            As in :meth:`MixtureDisplay.from_estimator`, like those that follow.
        subsample : int or None, default=1000
        color_by : {'component', 'uncertainty'} or array-like, default=None
        **plot_kw
            Passed on to :meth:`MixtureDisplay.plot`.

        Returns
        -------
        display : PairsDisplay

        Raises
        ------
        TypeError, NotFittedError, ValueError, ImportError
            As in :meth:`MixtureDisplay.from_estimator`.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        subject = subject_of(cls.__name__, estimator, X, color_by)
        chosen = subject.features(features, _MOST, "six features at most")
        displays = {
            (row, column): MixtureDisplay(
                **data_of(
                    subject,
                    [chosen[column], chosen[row]][: 1 + (row != column)],
                    grid_resolution,
                    subsample,
                )
            )
            for row in range(len(chosen))
            for column in range(row + 1)
        }
        return cls(displays=displays).plot(**plot_kw)

    @checks_styles
    def plot(self, *, figure: Any = None, **plot_kw: Any) -> Self:
        """Draw.

        Parameters
        ----------
        figure : matplotlib Figure, default=None
            None makes a new one.
        **plot_kw
            Passed on to :meth:`MixtureDisplay.plot`.

        Returns
        -------
        self : PairsDisplay

        Raises
        ------
        TypeError
            If there is an `ax`.
        ImportError
            If matplotlib is missing.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if "ax" in plot_kw:
            raise TypeError(
                f"{type(self).__name__}.plot has a picture for each two features: it "
                "takes no 'ax', but 'figure'. Give figure=ax.figure, say."
            )
        import matplotlib.pyplot as plt

        n = 1 + max(row for row, _ in self.displays)
        if figure is None:
            side = 1.2 + 2.1 * n
            figure = plt.figure(figsize=(side, side), layout="constrained")
        self.figure_ = figure
        self.axes_ = figure.subplots(n, n, squeeze=False)
        for (row, column), ax in np.ndenumerate(self.axes_):
            if column > row:
                ax.set_axis_off()
                continue
            given: dict[str, Any] = {"legend": False, "numbers": False, **plot_kw}
            if row != column:
                # What a small picture has room for.
                given = {"contour_kw": {"linewidths": 0.4}} | given
            self.displays[row, column].plot(ax, **given)
            if row < n - 1:
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
            if 0 < column < row:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
        if n > 1:
            handles, texts = self.displays[1, 0].legend_entries()
            # Where there are no pictures.
            self.figure_.legend(handles, texts, loc="upper right", fontsize="medium")
        return self
