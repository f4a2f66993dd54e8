"""What all estimators share, and what those do that hold a mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from inspect import Parameter, signature
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    validate_parameter_constraints,
)

from sklearn_keops_gmm._data import (
    TAKES_TENSORS,
    Bound,
    FittedChecks,
    Placement,
    SampleFunction,
    fitted_model,
)
from sklearn_keops_gmm._interop import documentation_address, from_state, to_state
from sklearn_keops_gmm.backends import single_thread


class PackageEstimator(BaseEstimator):
    """What all estimators of the package share: links, tags and saved files."""

    _doc_link_module = "sklearn_keops_gmm"

    @property
    def _doc_link_template(self) -> str:
        """What scikit-learn makes the link of an HTML representation from."""
        address = documentation_address()
        return address and f"{address}/api.html#sklearn_keops_gmm.{{estimator_name}}"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = TAKES_TENSORS
        tags.input_tags.allow_nan = True
        return tags

    def _validate_params(self) -> None:
        # Those that were left at their defaults are valid, and to check them all takes
        # it as long as some steps.
        defaults = _defaults_of(type(self).__init__)
        given = {name: getattr(self, name) for name in defaults}
        changed = {k: value for k, value in given.items() if value is not defaults[k]}
        validate_parameter_constraints(
            self._parameter_constraints, changed, caller_name=type(self).__name__
        )
        for name, value in changed.items():
            if isinstance(value, bool):
                self._refuse_as_count(name, value)

    def _refuse_as_count(self, name: str, value: bool) -> None:
        """Raise ValueError if a parameter is a number, as Python takes a bool for."""
        for constraint in self._parameter_constraints[name]:
            if isinstance(constraint, Interval) and constraint.type is Integral:
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be "
                    f"{constraint}. Got {value} instead."
                )

    @single_thread()
    def __getstate__(self) -> dict[str, Any]:
        return to_state(super().__getstate__())

    @single_thread()
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(from_state(type(self), state))


@lru_cache
def _defaults_of(init: Callable[..., None]) -> dict[str, Any]:
    """Return the defaults of an estimator's parameters, in the order of their names."""
    _, *parameters = signature(init).parameters.values()
    named = [one for one in parameters if one.kind is not Parameter.VAR_KEYWORD]
    return {one.name: one.default for one in sorted(named, key=lambda one: one.name)}


def function_of_held(
    outer: BaseEstimator,
    mixture: Any,
    placed: Any,
    method: str,
    answer: Callable[[Bound], Any],
    **of_the_answer: Any,
) -> SampleFunction:
    """Return what a mixture answers about samples for the estimator that holds it.

    Parameters
    ----------
    outer : estimator
        Whose method is called, and which checks the samples.
    mixture : estimator
        Fitted.
    placed : estimator
        Whose `device` and `backend` say where to compute.
    method, answer, **of_the_answer
        As of `SampleFunction`.
    """
    model = fitted_model(mixture)
    placement = Placement(placed.device, placed.backend, model.n_components)
    known = FittedChecks.of(outer).seen | {"means_": mixture.means_}
    checks = FittedChecks(type(outer), known)
    return SampleFunction(model, checks, placement, method, answer, **of_the_answer)


def hand_on_features(source: Any, to: Any) -> None:
    """Let an estimator know of the features that another one has seen."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(source, name):
            setattr(to, name, getattr(source, name))
