"""Mixtures whose parameters are known, without a fit."""

from __future__ import annotations

from copy import copy, deepcopy
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_scalar
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from sklearn_keops_gmm._data import (
    ArrayKind,
    Source,
    as_source,
    attributes_of,
    fitted_model,
    no_history,
    to_numpy,
)
from sklearn_keops_gmm._fit._callbacks import FitTasks
from sklearn_keops_gmm._fit._run import build_problem, history_of, solve
from sklearn_keops_gmm._fit._user_start import check_array_of, check_simplex
from sklearn_keops_gmm._fit._warm_start import WarmStart
from sklearn_keops_gmm._fit._warnings import warn_user
from sklearn_keops_gmm._model import (
    GaussianMixtureModel,
    MixtureParameters,
    PseudoSamples,
)
from sklearn_keops_gmm._model.covariances import (
    ILL_DEFINED,
    CovarianceStructure,
    make_covariance,
)
from sklearn_keops_gmm.backends import single_thread

# Of the prior alone is what keeps an adaptation from collapse.
_OF_ADAPTATION: dict[str, Any] = {
    "sparsity": 0.0,
    "moves": False,
    "solver": "em",
    "acceleration": None,
    "reg_covar": 0.0,
    "covariance_pooling": 0.0,
    "init_params": "kmeans",
    "noise": None,
    "noise_volume": None,
}


class KnownParameters:
    """What a mixture offers whose parameters are known."""

    @classmethod
    @single_thread()
    def from_parameters(
        cls,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        covariance_type: str = "full",
        **parameters: Any,
    ) -> Self:
        """Return a fitted mixture with parameters that are known, without a fit.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Not negative; they sum to 1.
        means : array-like of shape (n_components, n_features)
            Names of the columns become those of the features.
        covariances : array-like
            Positive definite, of the shape that `covariances_` has for this type.
        covariance_type : str, default='full'
            As of the estimator.
        **parameters
            Other parameters of the estimator.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            With these attributes, in float32 if all three are. `converged_` is True,
            `n_iter_` is 0, `costs_` and `lower_bounds_` are empty, `cost_` and
            `lower_bound_` are nan. With ``warm_start=True`` a fit starts from them.

        Raises
        ------
        ValueError
            If an array has another shape, or is not finite, or if they do not make a
            mixture; or if another parameter is unusable.

        Examples
        --------
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> mixture = KeOpsGaussianMixture.from_parameters(
        ...     weights=[0.3, 0.7],
        ...     means=[[0.0, 0.0], [5.0, 0.0]],
        ...     covariances=[[1.0, 2.0], [1.0, 1.0]],
        ...     covariance_type="diag",
        ... )
        >>> mixture.predict([[1.0, 1.0], [4.0, 1.0]])
        array([0, 1])
        >>> X, components = mixture.sample(1000, random_state=0)
        >>> X.shape
        (1000, 2)
        """
        checked_means = check_array_of(means, "means")
        if checked_means.ndim != 2:
            raise ValueError(
                "The parameter 'means' should have the shape of (n_components, "
                f"n_features), but got {checked_means.shape}"
            )
        n_components, n_features = checked_means.shape
        asked = parameters.setdefault("n_components", n_components)
        if asked != n_components:
            raise ValueError(
                f"n_components={asked!r}, but 'means' has {n_components} rows: leave "
                "n_components out, or give one row for each component."
            )
        make: Any = cls
        mixture = make(covariance_type=covariance_type, **parameters)
        mixture._validate_params()
        covariance = make_covariance(covariance_type)
        arrays = (
            _checked_weights(weights, n_components),
            checked_means,
            _checked_covariances(covariances, covariance, n_components, n_features),
        )
        kind, dtype = ArrayKind.of(means), np.result_type(*arrays)
        model = _model(covariance, *arrays)
        own = torch.float32 if dtype == np.float32 else torch.float64
        _check_feature_names(mixture, means, reset=True)
        mixture.n_features_in_ = n_features
        mixture.__dict__.update(attributes_of(model, kind, own) | no_history())
        mixture.reg_covar_ = kind.wrap(torch.zeros(n_features, dtype=own))
        mixture.covariance_pooling_, mixture.converged_ = 0.0, True
        known: Self = mixture
        return known

    def adapt(
        self,
        X: ArrayLike,
        relevance: float = 16.0,
        *,
        weights: bool = False,
        covariances: bool = False,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Return a mixture adapted to few samples of another population.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            Any number of samples, one will do.
        relevance : float, default=16.0
            How many samples each component of this mixture counts as, > 0.
        weights : bool, default=False
            Whether to adapt weights, too.
        covariances : bool, default=False
            Whether to adapt covariances, too.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples. Those that are no counts count as their
            effective number, ``sum(w)**2 / sum(w**2)``.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            A copy with other parameters; `costs_`, `cost_` and the like tell of its
            adaptation.

        Raises
        ------
        NotFittedError
            If this mixture is not fitted.
        ValueError
            If `X` is unusable or has other features, or `relevance` is not positive.

        Notes
        -----
        With tau = `relevance`, responsibilities g_ij, their sums r_j and those of
        samples F_j, a mean becomes ``(F_j + tau mu0_j) / (r_j + tau)`` [1]_: where a
        component has few samples, it stays where it was. Covariances become those of
        its samples and of tau samples of what it was. Weights become ``(r_j + tau M
        w0_j) / (n + tau M)`` with M components. This is EM for the maximum under the
        conjugate prior [2]_, repeated by `tol` and `max_iter`; nothing is added to
        covariances.

        References
        ----------
        .. [1] D. A. Reynolds, T. F. Quatieri and R. B. Dunn, "Speaker verification
           using adapted Gaussian mixture models", Digital Signal Processing 10 (2000).
        .. [2] J.-L. Gauvain and C.-H. Lee, "Maximum a posteriori estimation for
           multivariate Gaussian mixture observations of Markov chains", IEEE
           Transactions on Speech and Audio Processing 2 (1994).

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> mixture = KeOpsGaussianMixture.from_parameters(
        ...     [0.5, 0.5], [[1.0], [9.0]], [1.0, 1.0], "spherical"
        ... )
        >>> mixture.adapt(np.full((16, 1), 10.0)).means_
        array([[1. ],
               [9.5]])
        """
        check_is_fitted(self)
        check_scalar(
            relevance, "relevance", Real, min_val=0, include_boundaries="neither"
        )
        kept = {"weights": weights, "covariances": covariances}
        frozen = [name for name, free in kept.items() if not free]
        adapted = deepcopy(self)
        with single_thread():
            adapted._adapt(as_source(X, sample_weight), float(relevance), frozen)
        return adapted

    def _adapt(self, source: Source, relevance: float, frozen: list[str]) -> None:
        """Take the parameters that samples make of this mixture's own."""
        known = fitted_model(self)
        if known.noise is not None:
            raise ValueError(
                "adapt takes mixtures without noise, and this one was fitted with "
                "noise='uniform'. Fit with noise=None."
            )
        settings: Any = copy(self)
        settings.__dict__.update(_OF_ADAPTATION, frozen=frozen)
        settings.__dict__.pop("_skl_callbacks", None)
        settings.n_components = known.n_components
        settings.covariance_type = known.covariance.name
        data = source.read(settings, 1, reset=False)
        start = known.parameters.to(data.points.device)
        settings.prior = PseudoSamples(
            known.covariance, start, relevance, data.sample_size
        )
        task = build_problem(settings, data)
        tasks = FitTasks(settings, 1, settings.max_iter)
        tasks.describe(partial(task.attributes, data))
        tasks.begin(data.points, None, None, data.n_samples)
        result = solve(settings, task, WarmStart(start, np.inf), tasks)
        if not result.converged:
            warn_user(
                f"adapt did not converge in max_iter={settings.max_iter} iterations. "
                "Increase max_iter or tol.",
                ConvergenceWarning,
            )
        means = self.__dict__["means_"]
        dtype = torch.as_tensor(to_numpy(means)).dtype
        model = task.model(result.parameters)
        cost = task.objective.cost(result.parameters)
        self.__dict__.update(
            attributes_of(model, ArrayKind.of(means), dtype) | history_of(result, cost)
        )
        self.__dict__.pop("_memory", None)


def _checked_weights(weights: ArrayLike, n_components: int) -> np.ndarray:
    checked = check_array_of(weights, "weights", (n_components,))
    check_simplex(checked)
    return checked


def _checked_covariances(
    covariances: ArrayLike,
    covariance: CovarianceStructure,
    n_components: int,
    n_features: int,
) -> np.ndarray:
    shape = covariance.shape(n_components, n_features)
    checked = check_array_of(covariances, "covariances", shape)
    covariance.check_covariances(checked.astype(np.float64))
    return checked


def _model(
    covariance: CovarianceStructure, *arrays: np.ndarray
) -> GaussianMixtureModel:
    """Return the mixture that checked arrays make."""
    weights, means, covariances = (
        torch.from_numpy(array.astype(np.float64)) for array in arrays
    )
    try:
        factors = covariance.factors(covariances)
    except ValueError as error:
        if str(error) != ILL_DEFINED:
            raise
        raise ValueError(
            "The parameter 'covariances' is positive definite by less than rounding "
            "error: features are collinear. Leave one out, or add a small number to "
            "the variances."
        ) from error
    parameters = MixtureParameters(weights, means, covariances, factors)
    return GaussianMixtureModel(parameters, covariance)
