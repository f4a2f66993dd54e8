"""A fitted mixture over fewer features: some alone, or given the values of others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_keops_gmm._base import FittedMixture, attributes_of
from sklearn_keops_gmm._data import (
    ArrayKind,
    Bound,
    as_source,
    check_values,
    resolve_features,
    to_tensor,
)
from sklearn_keops_gmm._model import GaussianMixtureModel, Regression
from sklearn_keops_gmm.backends import get_backend, single_thread

Features = int | str | Sequence[int] | Sequence[str] | np.ndarray

_INITIAL_ARRAYS = ("weights_init", "means_init", "precisions_init")

# Responsibilities held at once: 32 MiB of them, but not too few rows for a tile.
_PAIRS, _MIN_ROWS = 2**22, 256


class ConditionalMixture(FittedMixture):
    """Methods that give a mixture, or a mean, of some of the features."""

    @single_thread()
    def marginal(self, features: Features) -> Any:
        """Return the mixture of some features alone.

        Parameters
        ----------
        features : int, str, or array-like of them
            The features to keep, in this order: indices, names as in
            `feature_names_in_`, or a mask.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            Fitted, with the covariance type, the components and the parameters of
            this one, but without initial arrays. Of its fit there is nothing:
            `n_iter_` is 0, `costs_` and `lower_bounds_` are empty, `cost_` and
            `lower_bound_` are nan.

        Raises
        ------
        NotFittedError
            If this mixture is not fitted.
        ValueError
            If `features` are unknown, repeated or none.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [1, 2, 3]
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> mixture.marginal([2, 0]).means_.shape
        (2, 2)
        """
        kept = self._indices(features)
        return self._over(kept, self._model().marginal(kept))

    @single_thread()
    def condition(self, features: Features, values: ArrayLike) -> Any:
        """Return the mixture of the other features, given the values of some.

        Parameters
        ----------
        features : int, str, or array-like of them
            The features whose values are known: indices, names as in
            `feature_names_in_`, or a mask.
        values : float or array-like of shape (n_given,)
            Their values, in the order of `features`.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            Fitted, over the other features in their own order. As in `marginal`, but
            components whose weight the values make zero are left out.

        Raises
        ------
        NotFittedError
            If this mixture is not fitted.
        ValueError
            If `features` are unknown, repeated, none or all; or if `values` are not
            one finite number for each.

        Notes
        -----
        With features a given and b not, a component has the weight
        ``W_j N(a; mu_a, Sigma_aa)`` over the sum of these, the mean
        ``mu_b + Sigma_ba inv(Sigma_aa) (a - mu_a)`` and the covariance
        ``Sigma_bb - Sigma_ba inv(Sigma_aa) Sigma_ab`` [1]_.

        References
        ----------
        .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", 2006,
           section 2.3.1.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=1000)
        >>> y = 3 * x + 0.1 * rng.normal(size=1000)
        >>> mixture = KeOpsGaussianMixture().fit(np.column_stack((x, y)))
        >>> given = mixture.condition(0, 2.0)
        >>> print(f"{given.means_[0, 0]:.2f} +- {given.covariances_[0, 0, 0]**0.5:.2f}")
        6.01 +- 0.10
        """
        given = self._indices(features, some_left=True)
        checked = check_values(values, len(given))
        point = torch.tensor(checked, dtype=torch.float64)
        model = self._model()
        shares = _responsibilities(point, model.marginal(given))  # (M,)
        conditional = model.condition(given, point, shares)
        return self._over(_all_but(given, model.n_features), conditional)

    @single_thread()
    def conditional_mean(self, features: Features, X: ArrayLike) -> np.ndarray:
        """Predict the other features from some: Gaussian mixture regression.

        Parameters
        ----------
        features : int, str, or array-like of them
            The features that the columns of `X` hold: indices, names as in
            `feature_names_in_`, or a mask.
        X : array-like of shape (n_samples, n_given), a sequence of them, or dask

        Returns
        -------
        means : ndarray of shape (n_samples, n_features_in_ - n_given)
            Expectations of the other features, in their own order; row i is the
            mean of ``condition(features, X[i])``. For a dask array or data frame a
            dask array, not computed yet.

        Raises
        ------
        NotFittedError
            If this mixture is not fitted.
        ValueError
            If `features` are unknown, repeated, none or all, or `X` is unusable.

        Notes
        -----
        The mean is ``sum_j g_j(x) (mu_b + Sigma_ba inv(Sigma_aa) (x - mu_a))`` with
        the responsibilities g_j(x) of the marginal mixture [1]_. Rows are taken in
        pieces: the matrix of pairs is never held.

        References
        ----------
        .. [1] Z. Ghahramani and M. I. Jordan, "Supervised learning from incomplete
           data via an EM approach", NIPS 6 (1993).

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = rng.uniform(-3, 3, size=5000)
        >>> y = np.sin(x) + 0.05 * rng.normal(size=5000)
        >>> data = np.column_stack((x, y))
        >>> mixture = KeOpsGaussianMixture(12, random_state=0).fit(data)
        >>> print(mixture.conditional_mean(0, [[-1.5], [0.0], [1.5]]).round(1).ravel())
        [-1. 0. 1.]
        """
        given = self._indices(features, some_left=True)
        regression = self._model().regression(given)
        function = self.marginal(given)._function(
            "conditional_mean",
            partial(_means, regression),
            n_columns=regression.means.shape[1],
        )
        return as_source(X).map(function)

    def _indices(self, features: Features, *, some_left: bool = False) -> list[int]:
        """Return the indices of `features`."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        n_features = self.means_.shape[1]
        chosen = resolve_features(features, n_features, names)
        if some_left and len(chosen) == n_features:
            raise ValueError(
                f"features={features!r} are all {n_features} features of the mixture: "
                "none is left to describe given them."
            )
        return chosen

    def _template(self) -> Any:
        """Return the estimator whose parameters a mixture made of this one gets."""
        return self

    def _over(self, features: list[int], model: GaussianMixtureModel) -> Any:
        """Return a fitted mixture over `features` of this one."""
        template = self._template()
        mixture = clone(template).set_params(**dict.fromkeys(_INITIAL_ARRAYS))
        dtype = to_tensor(self.means_, torch.device("cpu")).dtype
        kind = ArrayKind.of(self.means_)
        mixture.__dict__.update(attributes_of(model, kind, dtype))
        mixture.n_features_in_ = len(features)
        if hasattr(self, "feature_names_in_"):
            mixture.feature_names_in_ = self.feature_names_in_[features]
        mixture.converged_, mixture.n_iter_ = template.converged_, 0
        mixture.costs_, mixture.lower_bounds_ = [], []
        mixture.cost_ = mixture.lower_bound_ = float("nan")
        return mixture


def _means(regression: Regression, bound: Bound) -> Tensor:
    """Return the means of the targets for all points, some rows at a time."""
    regression = regression.to(bound.points.device)
    n_targets = regression.means.shape[1]
    means = bound.points.new_empty(len(bound.points), n_targets)
    size = max(_MIN_ROWS, _PAIRS // len(regression.means))
    for start in range(0, len(means), size):
        rows = slice(start, start + size)
        some = bound.of_rows(rows)
        shares = some.reductions.responsibilities(some.components)
        means[rows] = regression.mean(some.points.double(), shares.double())
    return means


def _responsibilities(point: Tensor, model: GaussianMixtureModel) -> Tensor:
    """Return the responsibilities for one point, which needs no choice of backend."""
    reductions = get_backend("torch")(point[None], None, model.frame)
    return reductions.responsibilities(model.components)[0]


def _all_but(features: list[int], n_features: int) -> list[int]:
    return [i for i in range(n_features) if i not in set(features)]
