"""Mixtures whose parameters are known, without a fit."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from sklearn_keops_gmm._data import (
    ArrayKind,
    Source,
    as_source,
    attributes_of,
    check_positive,
    check_without_noise,
    fitted_model,
    keep_settings,
    no_history,
    to_numpy,
)
from sklearn_keops_gmm._fit._callbacks import FitTasks
from sklearn_keops_gmm._fit._run import build_problem, history_of, solve
from sklearn_keops_gmm._fit._user_start import check_array_of, check_simplex
from sklearn_keops_gmm._fit._warm_start import WarmStart
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
from sklearn_keops_gmm.backends import warn_user

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


def known_mixture(
    make: Callable[..., Any],
    weights: ArrayLike,
    means: ArrayLike,
    covariances: ArrayLike,
    covariance_type: str,
    parameters: dict[str, Any],
) -> Any:
    """Return a fitted mixture of parameters that are known; see `from_parameters`.

    `make` makes an estimator of its parameters.
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
    mixture = make(covariance_type=covariance_type, **parameters)
    _check_parameters(mixture)
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
    keep_settings(mixture)
    return mixture


def adapted_mixture(
    mixture: Any,
    X: ArrayLike,
    relevance: float,
    *,
    weights: bool,
    covariances: bool,
    sample_weight: ArrayLike | None,
) -> Any:
    """Return a mixture adapted to few samples of another population; see `adapt`."""
    check_is_fitted(mixture)
    check_positive(relevance, "relevance")
    kept = {"weights": weights, "covariances": covariances}
    constraints: dict[str, Any] = {name: ["boolean"] for name in kept}
    validate_parameter_constraints(constraints, kept, caller_name="adapt")
    frozen = [name for name, free in kept.items() if not free]
    adapted = deepcopy(mixture)
    _adapt(adapted, as_source(X, sample_weight), float(relevance), frozen)
    return adapted


def _adapt(mixture: Any, source: Source, relevance: float, frozen: list[str]) -> None:
    """Take the parameters that samples make of this mixture's own."""
    known = fitted_model(mixture)
    check_without_noise(known, "adapt")
    settings: Any = copy(mixture)
    settings.__dict__.update(_OF_ADAPTATION, frozen=frozen)
    settings.__dict__.pop("_skl_callbacks", None)
    settings.n_components = known.n_components
    settings.covariance_type = known.covariance.name
    data = source.read(settings, 1, reset=False)
    start = known.parameters.to(data.points.device)
    settings.prior = PseudoSamples(known.covariance, start, relevance, data.sample_size)
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
    means = mixture.__dict__["means_"]
    dtype = torch.as_tensor(to_numpy(means)).dtype
    model = task.model(result.parameters)
    cost = task.objective.cost(result.parameters)
    mixture.__dict__.update(
        attributes_of(model, ArrayKind.of(means), dtype) | history_of(result, cost)
    )
    mixture.__dict__.pop("_memory", None)


def _check_parameters(mixture: Any) -> None:
    """Raise ValueError if a parameter is unusable, or says that there is noise."""
    mixture._validate_params()
    if mixture.noise is not None:
        raise ValueError(
            "from_parameters makes mixtures without noise, but got "
            f"noise={mixture.noise!r}. Set it before a fit that starts from this."
        )


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
