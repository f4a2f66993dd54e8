"""What all estimators of the package share."""

import pytest
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)

from sklearn_keops_gmm import (
    GaussianMixtureImputer,
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MixtureClustering,
)

every_estimator = pytest.mark.parametrize(
    "made",
    [
        KeOpsGaussianMixture,
        KeOpsGaussianMixtureCV,
        MixtureClustering,
        GaussianMixtureImputer,
    ],
)


@every_estimator
def test_defaults_need_no_check(made):
    """They are valid, so that only what was changed is looked at."""
    estimator = made()
    estimator._validate_params()
    given = estimator.get_params(deep=False)
    validate_parameter_constraints(
        made._parameter_constraints, given, caller_name=made.__name__
    )


@every_estimator
def test_what_was_changed_is_checked(made):
    for name in made._parameter_constraints:
        estimator = made().set_params(**{name: object()})
        with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
            estimator._validate_params()


@pytest.mark.parametrize(
    "made", [KeOpsGaussianMixture, KeOpsGaussianMixtureCV, MixtureClustering]
)
def test_a_bool_is_no_count(made):
    for name in ("n_components", "max_iter"):
        message = f"The '{name}' parameter of {made.__name__} must be an int.*Got True"
        with pytest.raises(InvalidParameterError, match=message):
            made().set_params(**{name: True}).fit([[0.0], [1.0], [2.0]])
