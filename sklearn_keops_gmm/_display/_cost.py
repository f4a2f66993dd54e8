"""The cost along a fit."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm._display._style import axes_for, last_step, style

# The first steps of a fit do most of the work: after so many, the axis of
# iterations has to be logarithmic to show them.
_MANY = 50


class CostDisplay:
    """The penalised cost of a mixture along its fit.

    After more than 50 iterations their axis is logarithmic beyond the first.

    It is recommended to use :meth:`from_estimator` to create one. All parameters
    are stored as attributes.

    Parameters
    ----------
    costs : array-like of shape (n_iter + 1,)
        The cost after 0, 1, 2, ... iterations.
    estimator_name : str, default=None
        The label of the curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D

    See Also
    --------
    MixtureDisplay : What was fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import CostDisplay, KeOpsGaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> mixture = KeOpsGaussianMixture(5, sparsity=1.0, random_state=0).fit(X)
    >>> display = CostDisplay.from_estimator(mixture)
    >>> len(display.costs) == mixture.n_iter_ + 1
    True
    """

    def __init__(self, *, costs: ArrayLike, estimator_name: str | None = None) -> None:
        self.costs = costs
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **line_kw: Any
    ) -> Self:
        """Draw the cost along the fit of a mixture.

        Parameters
        ----------
        estimator : KeOpsGaussianMixture
            Fitted, or a pipeline that ends in one.
        name : str, default=None
            The label of the curve; None is the name of the class and its solver.
        ax : matplotlib Axes, default=None
            None makes new ones. Give the same to several displays to compare fits.
        **line_kw
            Passed on to ``ax.plot``.

        Returns
        -------
        display : CostDisplay

        Raises
        ------
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If it has no `costs_`, as its fit made no iteration or is another's.
        ImportError
            If matplotlib is missing.
        """
        estimator = last_step(estimator)
        check_is_fitted(estimator)
        if not getattr(estimator, "costs_", None):
            raise ValueError(
                f"'estimator' has no costs to draw: this {type(estimator).__name__} "
                "has no 'costs_', because it made no iteration, is a part of another "
                "mixture, or was chosen among several."
            )
        costs = [*estimator.costs_, estimator.cost_]
        if name is None:
            name = f"{type(estimator).__name__}, {estimator.solver}"
        return cls(costs=costs, estimator_name=name).plot(ax, **line_kw)

    def plot(self, ax: Any = None, *, name: str | None = None, **line_kw: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        name : str, default=None
            The label of the curve; None is `estimator_name`.
        **line_kw
            Passed on to ``ax.plot``.

        Returns
        -------
        self : CostDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        label = self.estimator_name if name is None else name
        look = style(Line2D, {"label": label, "linewidth": 1.8}, line_kw)
        costs = np.asarray(self.costs)
        (self.line_,) = self.ax_.plot(np.arange(len(costs)), costs, **look)
        self.ax_.set(xlabel="iterations", ylabel="cost")
        if len(costs) > _MANY:
            self.ax_.set_xscale("symlog", linthresh=1, linscale=0.5)
            self.ax_.xaxis.set_major_formatter("{x:g}")
            self.ax_.set_xlim(left=0)
        elif self.ax_.get_xscale() == "linear":
            self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True))
        if look["label"] is not None:
            self.ax_.legend()
        return self
