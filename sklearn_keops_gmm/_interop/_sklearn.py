"""To scikit-learn's mixture and back, without a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

_SHARED = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "converged_",
    "n_iter_",
    "lower_bound_",
    "n_features_in_",
)


def to_sklearn(mixture: Any) -> GaussianMixture:
    """Return a GaussianMixture with the attributes of a fitted mixture of ours."""
    check_is_fitted(mixture)
    known = GaussianMixture._parameter_constraints["covariance_type"][0]
    if not known.is_satisfied_by(mixture.covariance_type):
        raise ValueError(
            "scikit-learn's GaussianMixture has no covariance_type="
            f"{mixture.covariance_type!r}; it takes 'full', 'tied', 'diag' or "
            "'spherical'."
        )
    names = GaussianMixture().get_params()
    parameters = {k: v for k, v in mixture.get_params().items() if k in names}
    # Arrays of a start would no longer fit where components have died.
    survivors = {"n_components": mixture.means_.shape[0]}
    if survivors["n_components"] != parameters["n_components"]:
        survivors |= dict.fromkeys(("weights_init", "means_init", "precisions_init"))
    twin = GaussianMixture(**{**parameters, **survivors})
    _copy_attributes(mixture, twin)
    return twin


def from_sklearn(cls: Callable[..., Any], mixture: Any, **parameters: Any) -> Any:
    """Return a mixture of ours with the attributes of scikit-learn's.

    Parameters
    ----------
    cls : type
        The estimator to make.
    mixture : sklearn.mixture.GaussianMixture
    **parameters
        Of the estimator.
    """
    if not isinstance(mixture, GaussianMixture):
        raise TypeError(
            "'mixture' must be a fitted sklearn.mixture.GaussianMixture; got "
            f"{type(mixture).__name__}."
        )
    check_is_fitted(mixture)
    twin: Any = cls(**{**mixture.get_params(), **parameters})
    _copy_attributes(mixture, twin)
    twin.n_components_ = mixture.means_.shape[0]
    twin.covariance_type_ = mixture.covariance_type
    # Without a prior the cost is the negative log-likelihood.
    twin.costs_ = [-bound for bound in twin.lower_bounds_]
    twin.cost_ = -mixture.lower_bound_
    return twin


def _copy_attributes(source: Any, target: Any) -> None:
    for name in _SHARED:
        setattr(target, name, getattr(source, name))
    # scikit-learn keeps all bounds since 1.7.
    target.lower_bounds_ = getattr(source, "lower_bounds_", [source.lower_bound_])
    if hasattr(source, "feature_names_in_"):
        target.feature_names_in_ = source.feature_names_in_
