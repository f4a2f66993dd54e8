"""Mixtures whose parameters are known, without a fit."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import _check_feature_names

from sklearn_keops_gmm._data import ArrayKind, attributes_of, no_history
from sklearn_keops_gmm._fit._user_start import check_array_of, check_simplex
from sklearn_keops_gmm._model import GaussianMixtureModel, MixtureParameters
from sklearn_keops_gmm._model.covariances import (
    ILL_DEFINED,
    CovarianceStructure,
    make_covariance,
)
from sklearn_keops_gmm.backends import single_thread


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
