"""What a fitted mixture can be asked: scores, labels, samples, other mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import DensityMixin, clone
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_keops_gmm._data import (
    ArrayKind,
    Bound,
    FittedChecks,
    OfObserved,
    Placement,
    SampleFunction,
    as_source,
    attributes_of,
    check_values,
    check_without_noise,
    find_standard_errors,
    fitted_model,
    has_noise,
    impute,
    keep_settings,
    labels,
    log_density,
    log_density_of_observed,
    means_given,
    no_history,
    reordered,
    resolve_features,
    responsibilities,
    responsibilities_for,
    summarise,
    to_numpy,
    to_tensor,
)
from sklearn_keops_gmm._estimator import PackageEstimator
from sklearn_keops_gmm._fit import (
    bootstrap,
    held_parameters,
    say_without_noise,
    say_without_parameters,
)
from sklearn_keops_gmm._interop import to_sklearn
from sklearn_keops_gmm._model import (
    BootstrapResult,
    GaussianMixtureModel,
    MixtureSummary,
    NoMaximumError,
    StandardErrors,
)
from sklearn_keops_gmm.backends import single_thread

Features = int | str | Sequence[int] | Sequence[str] | np.ndarray

_INITIAL_ARRAYS = ("weights_init", "means_init", "precisions_init", "frozen")


class FittedMixture(DensityMixin, PackageEstimator):
    """Methods that need only the fitted attributes."""

    covariance_type: Any
    backend: str
    device: str | torch.device
    random_state: Any
    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_cholesky_: np.ndarray
    costs_: list[float]
    lower_bounds_: list[float]

    @single_thread()
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Compute the log-likelihood of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Natural logarithm of the density, without any prior, with that of noise: of
            a sample with NaN that of what is observed, 0 if that is nothing. For a dask
            array or data frame a dask array, not computed yet; errors come when it is.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` is unusable.
        """
        check_is_fitted(self)
        return as_source(X).map(self._function("score_samples", log_density))

    @single_thread()
    def score(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute the mean log-likelihood per sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples in the mean.

        Returns
        -------
        log_likelihood : float
            Never penalised: grid searches over `sparsity` compare likelihoods.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` or `sample_weight` is unusable.
        """
        check_is_fitted(self)
        function = self._function("score_samples", log_density)
        (mean,), _ = as_source(X, sample_weight).means(function)
        return float(mean)

    @single_thread()
    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the most probable component of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            With `noise` -1 where that is the most probable. For a dask array or data
            frame a dask array, not computed yet.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` is unusable.
        """
        check_is_fitted(self)
        return as_source(X).map(self._function("predict", labels, dtype=np.int64))

    @single_thread()
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Compute the posterior probability of each component for each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components_)
            Rows sum to 1, also where all densities are 0 in the precision of the
            data. With `noise` its probability is one more column, the last. This is the
            only method that returns a matrix of pairs. For a dask array or data frame a
            dask array, not computed yet.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` is unusable.

        Examples
        --------
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> X = [[-1.0], [0.0], [9.0], [10.0]]
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> mixture.predict_proba(X).sum(axis=1)
        array([1., 1., 1., 1.])
        """
        check_is_fitted(self)
        n_columns = self.means_.shape[0] + has_noise(self)
        function = self._function(
            "predict_proba", responsibilities, n_columns=n_columns
        )
        return as_source(X).map(function)

    @single_thread()
    def sample(
        self, n_samples: int = 1, random_state: int | RandomState | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw random samples from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            None takes the estimator's own `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            Grouped by component; with `noise` what is drawn of it, in the box of the
            samples of the fit, is last.
        y : ndarray of shape (n_samples,), int64
            The components, -1 for noise.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        TypeError
            If `n_samples` is no integer.
        ValueError
            If it is less than 1.

        Examples
        --------
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> X = [[-1.0], [0.0], [9.0], [10.0]]
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> points, components = mixture.sample(5, random_state=0)
        >>> points.shape, components.shape
        ((5, 1), (5,))
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires "
                "at least one sample."
            )
        given = self.random_state if random_state is None else random_state
        generator = check_random_state(given)
        model, dtype = self._model(), to_numpy(self.means_).dtype
        X, components = model.sample(n_samples, generator, dtype)
        kind = ArrayKind.of(self.means_)
        # In double precision, whatever the precision of the attributes.
        points = torch.from_numpy(X.astype(np.float64, copy=False))
        return kind.wrap(points), kind.wrap(torch.from_numpy(components))

    @single_thread()
    def bic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the Bayesian information criterion; the lower the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        sample_weight : array-like of shape (n_samples,), default=None
            Integers are numbers of equal samples; others count as their effective
            number, ``sum(w)**2 / sum(w**2)``, whatever their unit. Those of which
            nothing is observed do not count.

        Returns
        -------
        bic : float
            Counts the parameters of the ``n_components_`` components alive.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` or `sample_weight` is unusable.

        References
        ----------
        G. Schwarz, "Estimating the dimension of a model", The Annals of Statistics 6
        (1978).
        """
        mean, size = self._score_of_observed("bic", X, sample_weight)
        if size == 0:
            raise ValueError(
                "X has no sample of which something is observed: BIC needs one."
            )
        return -2 * size * mean + self._model().n_parameters * math.log(size)

    @single_thread()
    def aic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the Akaike information criterion; the lower the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        sample_weight : array-like of shape (n_samples,), default=None
            As for `bic`.

        Returns
        -------
        aic : float
            Counts the parameters of the ``n_components_`` components alive.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` or `sample_weight` is unusable.

        References
        ----------
        H. Akaike, "A new look at the statistical model identification", IEEE
        Transactions on Automatic Control 19 (1974).
        """
        mean, size = self._score_of_observed("aic", X, sample_weight)
        return -2 * size * mean + self._model().n_parameters * 2.0

    @single_thread()
    def summary(
        self, X: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> MixtureSummary:
        """Return what was found as a table that can be read.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask, \
default=None
            With samples the summary has counts, the log-likelihood, AIC, BIC and ICL.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples.

        Returns
        -------
        summary : MixtureSummary
            It prints, also as HTML, and has `to_frame()`.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` or `sample_weight` is unusable.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixtureCV
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.normal(c, 1, (500, 2)) for c in (-5, 0, 5)])
        >>> KeOpsGaussianMixtureCV(random_state=0).fit(X).summary().n_components
        3
        """
        check_is_fitted(self)
        return summarise(self, self, X, sample_weight, **self._beside())

    @single_thread()
    def standard_errors(
        self, X: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> StandardErrors:
        """Return standard errors of weights, means and covariances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            The samples of the fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights >= 0. Those that are no counts count as their effective
            number, ``sum(w)**2 / sum(w**2)``.

        Returns
        -------
        errors : StandardErrors
            With `intervals`.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` or `sample_weight` is unusable, if the mixture is at no maximum of
            the likelihood of these samples, as where a feature is constant or a linear
            function of others or where noise has no weight, or if there are more than
            10,000 parameters.

        See Also
        --------
        bootstrap : Where components have few samples or overlap.

        Notes
        -----
        They are those of maximum likelihood, by the observed information [1]_: minus
        the Hessian of the log-likelihood, found in one pass through the samples.
        Converge well, with a `tol` of 1e-6 or so. Nothing is known here of `sparsity`,
        `prior` or `covariance_pooling`, nor that the number of components was chosen.
        The density of `noise` counts as known, and so does what is `frozen`, whose
        errors are 0.

        References
        ----------
        .. [1] O. Boldea and J. R. Magnus, "Maximum likelihood estimation of the
           multivariate normal mixture model", Journal of the American Statistical
           Association 104, 2009.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.normal(c, 1, (500, 1)) for c in (-5, 5)])
        >>> errors = KeOpsGaussianMixture(2, random_state=0).fit(X).standard_errors(X)
        >>> bool(np.allclose(errors.means, 500**-0.5, rtol=0.1))
        True
        """
        check_is_fitted(self)
        data = as_source(X, sample_weight).read(self, 1, reset=False)
        model, held = self._model(), held_parameters(self._template())
        try:
            return find_standard_errors(data, model, held, self.backend)
        except NoMaximumError:
            ridge = to_numpy(getattr(self, "reg_covar_", 0.0))
            reason = say_without_parameters(data, ridge)
            reason = reason or say_without_noise(model, data.sample_size)
            if reason is None:
                raise
            raise ValueError(reason) from None

    def bootstrap(
        self,
        X: ArrayLike,
        n_resamples: int = 999,
        sample_weight: ArrayLike | None = None,
        random_state: int | RandomState | None = None,
        n_jobs: int | None = None,
    ) -> BootstrapResult:
        """Fit to resamples of the samples, which tells errors of all parameters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples of the fit.
        n_resamples : int, default=999
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights >= 0, as in `standard_errors`.
        random_state : int, RandomState instance or None, default=None
            None takes the estimator's own `random_state`.
        n_jobs : int, default=None
            How many processes to use, as in joblib. The result does not depend on it.

        Returns
        -------
        result : BootstrapResult
            With `standard_errors` and `intervals`.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` or `sample_weight` is unusable, `X` is no single array, or
            `n_resamples` is less than 2; or if there is a `prior` of one's own.

        Notes
        -----
        Weights of the samples are drawn, exponential ones [1]_, and EM starts from the
        mixture and converges to 0.01 nats over all samples. No sample is left out, so
        that components stay; they are matched with those of the mixture. The fits are
        without `sparsity`: their number of components is given.

        References
        ----------
        .. [1] A. O'Hagan, T. B. Murphy, L. Scrucca and I. C. Gormley, "Investigation
           of parameter uncertainty in clustering using a Gaussian mixture model via
           jackknife, bootstrap and weighted likelihood bootstrap", Computational
           Statistics 34, 2019.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.normal(c, 1, (500, 1)) for c in (-5, 5)])
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> result = mixture.bootstrap(X, 99, random_state=0)
        >>> low, high = result.intervals(0.95).weights[0]
        >>> bool(0.45 < low < 0.5 < high < 0.55)
        True
        """
        check_is_fitted(self)
        check_scalar(n_resamples, "n_resamples", Integral, min_val=2)
        source = as_source(X, sample_weight)
        if source.parts is not None:
            raise ValueError(
                "A bootstrap weights the rows of X, which has to be one array; "
                f"got {type(X).__name__}, in {source.parts}. Use standard_errors."
            )
        given = self.random_state if random_state is None else random_state
        with single_thread():
            data = source.read(self, 1, reset=False)
        generator = check_random_state(given)
        settings, model = self._for_resamples(data.sample_size), self._model()
        return bootstrap(settings, data, model, n_resamples, generator, n_jobs)

    def _for_resamples(self, sample_size: float) -> Any:
        """Return the estimator whose parameters fits to resamples have."""
        settings = copy(self._template())
        if settings.prior is not None:
            raise ValueError(
                "bootstrap fits without a prior of one's own, and this mixture was "
                f"fitted with prior={settings.prior!r}. Fit with prior=None."
            )
        settings.sparsity, settings.solver, settings.acceleration = 0.0, "em", None
        settings.truncation = None
        settings.n_components = len(self.means_)
        settings.covariance_type = self._model().covariance.name
        # Weights that vary say as much as half as many equal ones, or fewer.
        pooling = getattr(self, "covariance_pooling_", 0.0)
        settings.covariance_pooling = 0.5 * float(pooling)
        return settings

    def _beside(self) -> dict[str, Any]:
        """Return what a summary tells beside the mixture."""
        return {}

    def to_sklearn(self) -> GaussianMixture:
        """Return a fitted scikit-learn mixture with the same attributes.

        It scores, predicts and samples alike, and needs neither torch nor this
        package where it is loaded.

        Returns
        -------
        mixture : sklearn.mixture.GaussianMixture
            With the ``n_components_`` components alive, and no initial arrays if
            some have died.

        Raises
        ------
        NotFittedError
            If this mixture is not fitted.
        ValueError
            If scikit-learn lacks the covariance type, or there is `noise`.

        Examples
        --------
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> X = [[-1.0], [0.0], [9.0], [10.0]]
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> mixture.to_sklearn().n_components
        2
        """
        check_is_fitted(self)
        check_without_noise(self._model(), "to_sklearn")  # which checks the attributes
        return to_sklearn(self)

    # -- some of the features ------------------------------------------------------

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
            Their values, in the order of `features`; a series of pandas has to have
            the same names, if it has names.

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
        known = getattr(self, "feature_names_in_", None)
        names = None if known is None else list(known[given])
        checked = check_values(values, len(given), names)
        point = to_tensor(checked, torch.device("cpu")).double()
        model = self._model()
        shares = responsibilities_for(point, model.marginal(given))
        conditional = model.condition(given, point, shares)
        targets = [i for i in range(model.n_features) if i not in set(given)]
        return self._over(targets, conditional)

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
            mean of ``condition(features, X[i])``, of its components if there is
            `noise`. For a dask array or data frame a
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
        model = self._model()
        regression = model.regression(given)
        function = self.marginal(given)._function(
            "conditional_mean",
            partial(means_given, model.without_noise(), given, regression),
            n_columns=regression.means.shape[1],
        )
        # In the name of the estimator that was asked.
        checks = replace(function.checks, estimator=type(self))
        return as_source(X).map(replace(function.without_noise(), checks=checks))

    @single_thread()
    def impute(
        self,
        X: ArrayLike,
        n_draws: int | None = None,
        random_state: int | RandomState | None = None,
    ) -> np.ndarray:
        """Fill in what is missing, given what is observed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            NaN where a value is missing.
        n_draws : int, default=None
            How many times to draw what is missing from its distribution given the rest,
            for multiple imputation [1]_. None takes the mean of that instead: the error
            of single values is least, but they vary too little.
        random_state : int, RandomState instance or None, default=None
            Of the draws. None takes the estimator's own `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_draws, n_samples, n_features)
            What is observed stays as it is. For a dask array or data frame a dask
            array, not computed yet.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `X` is unusable, or `n_draws` is less than 1.

        References
        ----------
        .. [1] D. B. Rubin, "Multiple imputation for nonresponse in surveys", 1987.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=1000)
        >>> X = np.column_stack((x, 3 * x + 0.1 * rng.normal(size=1000)))
        >>> X[::3, 1] = np.nan
        >>> mixture = KeOpsGaussianMixture().fit(X)
        >>> mixture.impute([[2.0, np.nan]]).round(1)
        array([[2., 6.]])
        >>> draws = mixture.impute([[2.0, np.nan]], n_draws=500, random_state=0)
        >>> draws.shape, round(float(draws[:, 0, 1].std()), 1)
        ((500, 1, 2), 0.1)
        """
        check_is_fitted(self)
        given = self.random_state if random_state is None else random_state
        return impute(self._function, X, self.means_.shape[1], n_draws, given)

    # -- the value behind the attributes --------------------------------------------

    def _score_of_observed(
        self, method: str, X: Any, sample_weight: Any
    ) -> tuple[float, float]:
        """Return the mean log-likelihood, and how many samples it is of.

        Without those of which nothing is observed.
        """
        check_is_fitted(self)
        function = OfObserved(self._function(method, log_density_of_observed))
        (mean,), weighing = as_source(X, sample_weight).means(function)
        return float(mean), weighing.sample_size

    def _function(
        self, method: str, answer: Callable[[Bound], Tensor], **of_the_answer: Any
    ) -> SampleFunction:
        """Return what the mixture, as it is now, answers about samples."""
        model = self._model()
        placement = Placement(self.device, self.backend, model.n_components)
        checks = FittedChecks.of(self)
        return SampleFunction(model, checks, placement, method, answer, **of_the_answer)

    def _n_parameters(self) -> int:
        """Return the number of free parameters, as scikit-learn's class does."""
        return self._model().n_parameters

    def _model(self) -> GaussianMixtureModel:
        """Return the mixture that the fitted attributes describe, as they are now."""
        return fitted_model(self)

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

    # -- the same mixture ----------------------------------------------------------

    @single_thread()
    def sorted_by(
        self, by: Literal["weights", "means"] | Callable[[Any], ArrayLike]
    ) -> Any:
        """Return a copy whose components are in an order that says something.

        Parameters
        ----------
        by : {'weights', 'means'} or callable
            'weights' puts the heaviest component first, 'means' sorts by the first
            feature's mean, then by the second's where that is the same, and so on. A
            callable takes the mixture and returns a number for each component, by which
            they ascend, or a row of numbers for each, of which the first counts most.
            Components that are equal keep their order.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            The same mixture, with what belongs to components in that order, and so
            `predict` with other numbers. So are `means_init` and the like, and masks
            of `frozen`, if no component has left.

        Raises
        ------
        NotFittedError
            If no mixture was fitted.
        ValueError
            If `by` is none of these, or returns no number for each component.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> X = np.array([[9.0], [10.0], [11.0], [-1.0], [0.0]])
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> mixture.sorted_by("means").predict(X)
        array([1, 1, 1, 0, 0])
        >>> mixture.sorted_by("weights").predict(X)
        array([0, 0, 0, 1, 1])
        >>> by_width = mixture.sorted_by(lambda m: m.covariances_[:, 0, 0])
        >>> by_width.covariances_.ravel().round(2)
        array([0.25, 0.67])
        """
        check_is_fitted(self)
        mixture = deepcopy(self._template())
        mixture.__dict__.update(reordered(mixture, by))
        return mixture

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
        mixture.converged_ = template.converged_
        mixture.__dict__.update(no_history())
        keep_settings(mixture)
        return mixture
