"""The terms of the cost that do not depend on the data, as a user asks for them."""

from __future__ import annotations

from sklearn_keops_gmm._fit._frozen import Parameters, frozen_parameters
from sklearn_keops_gmm._model import (
    Prior,
    Priors,
    SparsityPrior,
    UserPrior,
    WeightsOfMass,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure
from sklearn_keops_gmm.solvers import GRADIENT_SOLVERS


def priors_of(
    mixture: Parameters,
    covariance: CovarianceStructure,
    pooling: Prior | None,
    weights_of: WeightsOfMass,
) -> Priors:
    """Return all terms of the cost that do not depend on the data.

    Parameters
    ----------
    mixture : estimator
    covariance : CovarianceStructure
    pooling : Prior or None
        What pools covariances.
    weights_of : callable
        What makes sparse weights of mass fractions.

    Raises
    ------
    ValueError
        If the solver cannot take a user's prior.
    """
    sparsity = SparsityPrior(mixture.sparsity, mixture.n_components, weights_of)
    frozen = frozen_parameters(mixture, covariance)
    others = (pooling, _user_prior(mixture, covariance), frozen)
    return Priors(sparsity, *(prior for prior in others if prior is not None))


def _user_prior(mixture: Parameters, covariance: CovarianceStructure) -> Prior | None:
    """Return the user's prior, if there is one and the solver can lower it."""
    if mixture.prior is None:
        return None
    if isinstance(mixture.prior, Prior):
        _check_one_price_of_weights(mixture, mixture.prior)
        return mixture.prior
    if mixture.solver not in GRADIENT_SOLVERS:
        able = " or ".join(f"solver={name!r}" for name in GRADIENT_SOLVERS)
        raise ValueError(
            f"solver={mixture.solver!r} cannot take a prior: its M-step has a closed "
            "form only for the likelihood and sparsity, while a prior of one's own is "
            f"known by its values and gradient. Use {able}, or prior=None."
        )
    return UserPrior(mixture.prior, covariance)


def _check_one_price_of_weights(mixture: Parameters, prior: Prior) -> None:
    """Raise ValueError if an M-step would need the weights of two priors at once."""
    weighs = type(prior).maximize_weights is not Prior.maximize_weights
    if weighs and mixture.sparsity > 0 and mixture.solver not in GRADIENT_SOLVERS:
        able = " or ".join(f"solver={name!r}" for name in GRADIENT_SOLVERS)
        raise ValueError(
            f"prior={prior!r} has an M-step of the weights of its own, which "
            f"solver={mixture.solver!r} cannot join with that of "
            f"sparsity={mixture.sparsity!r}. Use sparsity=0, or {able}."
        )
