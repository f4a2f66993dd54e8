"""The transformer that fills in what is missing."""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import (
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm._data import (
    SampleFunction,
    all_or_nothing,
    impute,
)
from sklearn_keops_gmm._estimator import (
    PackageEstimator,
    function_of_held,
    hand_on_features,
)
from sklearn_keops_gmm._mixture import KeOpsGaussianMixture
from sklearn_keops_gmm._mixture_cv import KeOpsGaussianMixtureCV
from sklearn_keops_gmm.backends import single_thread


class GaussianMixtureImputer(OneToOneFeatureMixin, TransformerMixin, PackageEstimator):
    """Fills in missing values by what a Gaussian mixture says of them.

    The mixture is fitted to what is observed, by the marginal likelihood of that [1]_;
    a missing value then gets its mean given those of the same sample that are observed,
    or a draw from its distribution given these.

    Parameters
    ----------
    estimator : estimator, default=None
        A :class:`KeOpsGaussianMixture` or :class:`KeOpsGaussianMixtureCV`, of which a
        copy is fitted. None is ``KeOpsGaussianMixtureCV(random_state=random_state)``,
        which finds the number of components.
    sample_posterior : bool, default=False
        Whether to draw what is missing, as :class:`sklearn.impute.IterativeImputer`
        names it, rather than to take the mean. Imputers with other seeds then make the
        data sets of multiple imputation [2]_.
    random_state : int, RandomState instance or None, default=None
        Seeds the draws, and the fit where `estimator` is None.

    Attributes
    ----------
    mixture_ : estimator
        The mixture that was fitted.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where `X` has them.

    References
    ----------
    .. [1] Z. Ghahramani and M. I. Jordan, "Supervised learning from incomplete data via
       an EM approach", NIPS 6 (1993).
    .. [2] D. B. Rubin, "Multiple imputation for nonresponse in surveys", 1987.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import GaussianMixtureImputer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=1000)
    >>> X = np.column_stack((x, 3 * x + 0.1 * rng.normal(size=1000)))
    >>> X[::3, 1] = np.nan
    >>> imputer = GaussianMixtureImputer(random_state=0).fit(X)
    >>> imputer.transform([[2.0, np.nan], [np.nan, -3.0]]).round(1)
    array([[ 2.,  6.],
           [-1., -3.]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [KeOpsGaussianMixture, KeOpsGaussianMixtureCV, None],
        "sample_posterior": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: KeOpsGaussianMixture | KeOpsGaussianMixtureCV | None = None,
        *,
        sample_posterior: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    @single_thread()
    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> GaussianMixtureImputer:
        """Fit the mixture to what is observed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            NaN where a value is missing, as in :meth:`KeOpsGaussianMixture.fit`.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples.

        Returns
        -------
        self : GaussianMixtureImputer

        Raises
        ------
        ValueError
            If a parameter or `X` is unusable.
        """
        with all_or_nothing(self):
            self._check_shape(getattr(X, "shape", ()))
            mixture = self.estimator
            if mixture is None:
                mixture = KeOpsGaussianMixtureCV(random_state=self.random_state)
            self.mixture_: Any = clone(mixture).fit(X, sample_weight=sample_weight)
            self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
            hand_on_features(self.mixture_, self)
        return self

    @single_thread()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """Fill in what is missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            What is observed stays as it is. For a dask array or data frame a dask
            array, not computed yet.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        ValueError
            If `X` is unusable.
        """
        check_is_fitted(self)
        filled_in = partial(impute, self._function, X, self.n_features_in_)
        if self.sample_posterior:
            return filled_in(1, self.random_state)[0, ...]
        return filled_in(None, None)

    def _check_shape(self, shape: tuple[Any, ...]) -> None:
        """Raise ValueError for what is no table of two rows: a mixture names itself."""
        name = type(self).__name__
        if len(shape) > 2:
            raise ValueError(
                f"Found array with dim {len(shape)}, while dim <= 2 is required by "
                f"{name}."
            )
        if len(shape) < 2:
            return
        for what, count, least in (
            ("sample(s)", shape[0], 2),
            ("feature(s)", shape[1], 1),
        ):
            # How many rows a data frame of dask has, it does not know.
            if isinstance(count, Integral) and count < least:
                raise ValueError(
                    f"Found array with {count} {what} (shape={shape}) while a minimum "
                    f"of {least} is required by {name}."
                )

    def _function(self, method: str, answer: Any, *, n_columns: int) -> SampleFunction:
        """Return what the mixture answers about samples, as this estimator checks."""
        mixture = self.mixture_
        return function_of_held(
            self, mixture, mixture, "transform", answer, n_columns=n_columns
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
