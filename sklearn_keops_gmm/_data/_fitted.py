"""What samples need to know of a fitted estimator, as values that can be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sklearn_keops_gmm._data._arrays import ArrayKind, check_same_namespace, to_numpy
from sklearn_keops_gmm._data._checks import (
    SETTINGS,
    check_representable,
    resolve_device,
)
from sklearn_keops_gmm._data._input import are_plain_samples, checked_samples
from sklearn_keops_gmm._model import GaussianMixtureModel, model_of
from sklearn_keops_gmm._model.covariances import make_covariance

# What a model is made of.
_PARAMETERS: tuple[str, ...] = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_cholesky_",
)
# And of noise, if there is some.
NOISE_ATTRIBUTES = (
    "noise_weight_",
    "noise_log_density_",
    "noise_box_",
    "noise_log_widths_",
)
# Parameters that what goes on from a fit has as they were in it.
_KEPT = ("n_components", "noise", "noise_volume")
# What scikit-learn's checks of samples read, besides the class.
_READ = ("n_features_in_", "feature_names_in_", "means_")


def fitted_model(estimator: Any) -> GaussianMixtureModel:
    """Return the mixture that an estimator's attributes describe, as they are now.

    Raises
    ------
    ValueError
        If they, or its `covariance_type`, were changed and make no mixture any more.
    """
    names = _PARAMETERS
    if has_noise(estimator):
        # Of mixtures of older versions the last is not known.
        names += tuple(name for name in NOISE_ATTRIBUTES if hasattr(estimator, name))
    attributes = (to_numpy(getattr(estimator, name)) for name in names)
    arrays = [np.asarray(attribute) for attribute in attributes]
    given = estimator.covariance_type
    fitted = getattr(estimator, "covariance_type_", given)
    # Where several types were compared it is one of them.
    if isinstance(given, str) and given not in ("auto", fitted):
        _, means, covariances, *_ = arrays
        if covariances.shape == make_covariance(fitted).shape(*means.shape):
            # Only where there is a choice, a fit may go on from it.
            anew = ", with warm_start=False" * hasattr(estimator, "warm_start")
            raise ValueError(
                f"covariance_type={given!r} was set after this mixture was fitted with "
                f"{fitted!r}. Fit it again{anew}."
            )
        fitted = given
    return model_of(fitted, *arrays)


def has_noise(estimator: Any) -> bool:
    """Tell whether a fitted mixture has noise beside its components."""
    # Attributes of older versions do not tell.
    return getattr(estimator, "noise_weight_", None) is not None


def attributes_of(
    model: GaussianMixtureModel, kind: ArrayKind, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the fitted attributes that describe a model, as arrays of that kind.

    They share no memory with it.

    Raises
    ------
    ValueError
        If one of them cannot be held in that dtype.
    """
    parameters = model.parameters
    arrays = {
        "weights_": parameters.proportions,
        "means_": parameters.means,
        "covariances_": parameters.covariances,
        "precisions_": model.precisions,
        "precisions_cholesky_": parameters.precisions_cholesky,
    }
    arrays = {name: array.to(dtype, copy=True) for name, array in arrays.items()}
    check_representable(arrays)
    wrapped = {name: kind.wrap(array) for name, array in arrays.items()}
    return wrapped | {
        "n_components_": model.n_components,
        "covariance_type_": model.covariance.name,
        **_of_noise(model, kind, dtype),
    }


def check_without_noise(model: GaussianMixtureModel, method: str) -> None:
    """Raise ValueError if there is noise, of which a method knows nothing."""
    if model.noise is not None:
        raise ValueError(
            f"{method} takes mixtures without noise, and this one was fitted with "
            "noise='uniform'. Fit with noise=None."
        )


def no_history() -> dict[str, Any]:
    """Return the attributes that tell of a fit where there was none."""
    return {
        "n_iter_": 0,
        "costs_": [],
        "lower_bounds_": [],
        "cost_": float("nan"),
        "lower_bound_": float("nan"),
    }


def forget_noise(estimator: Any) -> None:
    """Delete attributes of noise that an earlier fit has set."""
    for name in NOISE_ATTRIBUTES:
        estimator.__dict__.pop(name, None)


def keep_settings(estimator: Any, **others: Any) -> None:
    """Keep what a mixture has been fitted with, for what goes on from there.

    That are its parameters, but for `others`.
    """
    kept = {name: getattr(estimator, name) for name in _KEPT}
    estimator.__dict__[SETTINGS] = kept | others


def _of_noise(
    model: GaussianMixtureModel, kind: ArrayKind, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the fitted attributes of noise, if there is some."""
    if model.noise is None:
        return {}
    box = torch.stack((model.noise.low, model.noise.high))
    device = model.parameters.means.device
    return {
        "noise_weight_": model.parameters.noise_weight,
        "noise_log_density_": model.noise.log_density,
        "noise_box_": kind.wrap(box.to(device, dtype)),
        "noise_log_widths_": kind.wrap(model.noise.log_widths.to(device, dtype)),
    }


@dataclass(frozen=True)
class FittedChecks:
    """scikit-learn's checks of samples against those that an estimator has seen.

    Attributes
    ----------
    estimator : type
        Its class, which messages name.
    seen : dict
        Attributes of its fit.
    """

    estimator: type
    seen: dict[str, Any]

    @classmethod
    def of(cls, estimator: Any) -> FittedChecks:
        """Return the checks of an estimator that knows its features."""
        attributes = vars(estimator)
        seen = {name: attributes[name] for name in _READ if name in attributes}
        return cls(type(estimator), seen)

    def validate(self, X: Any, **how: Any) -> Any:
        """Return samples as an array; `how` is for `checked_samples`.

        Raises
        ------
        ValueError
            If they are unusable, or have other features.
        """
        return checked_samples(self._stand_in(), X, reset=False, **how)

    def samples(self, X: Any, dtypes: list[Any]) -> Any:
        """Return samples as a contiguous array of one of those dtypes.

        Raises
        ------
        ValueError
            If they are unusable, or have other features.
        """
        if self.is_plain(X):
            return X
        return self.validate(X, dtype=dtypes, order="C")

    def is_plain(self, X: Any, *, finite: bool = False) -> bool:
        """Tell whether `validate` would return an array as it is.

        That takes it as long as to compute with a few samples, or longer.

        Parameters
        ----------
        X : array
        finite : bool, default=False
            Whether its numbers are known to be.
        """
        return (
            "feature_names_in_" not in self.seen
            and are_plain_samples(X, finite=finite)
            and X.shape[1] == self.seen.get("n_features_in_")
        )

    def check_namespace(self, X: Any, method: str) -> None:
        """Raise ValueError unless samples are arrays like those of the fit."""
        stand_in = self._stand_in()
        check_same_namespace(X, stand_in, attribute="means_", method=method)

    def _stand_in(self) -> Any:
        found: Any = object.__new__(self.estimator)
        found.__dict__.update(self.seen)
        return found


@dataclass(frozen=True)
class Placement:
    """Where to compute, as a user has asked for it.

    Attributes
    ----------
    device : str or torch.device
    backend : str
    n_components : int
        How many components there are to compute with.
    """

    device: str | torch.device
    backend: str
    n_components: int

    @classmethod
    def of(cls, estimator: Any) -> Placement:
        """Return that of a fit."""
        return cls(estimator.device, estimator.backend, estimator.n_components)

    def device_for(self, array: Any) -> torch.device:
        """Return the device for samples, (N, D)."""
        return resolve_device(self.device, array, self.n_components, self.backend)
