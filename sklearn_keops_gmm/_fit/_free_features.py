"""How many features have parameters: what criteria charge for."""

from __future__ import annotations

from torch import Tensor

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._start_data import StartData


def n_free_features(problem: StartData, ridge: Tensor) -> int:
    """Return the number of features that have parameters of their own.

    One that is constant, or a linear function of others, may have none.

    Parameters
    ----------
    problem : StartData
    ridge : Tensor of shape (D,)
        What is added to the variances.
    """
    n_dependent = Sample.of(problem).n_dependent(ridge.cpu().numpy())
    return problem.covariance.n_free_features(
        problem.points.shape[1], problem.extent.n_varying, n_dependent
    )


def most_components(data: Data) -> int:
    """Return how many components have enough samples each, on average.

    That is twice as many as features and one more, of features that have parameters in
    covariances.
    """
    sample = Sample(data.points, data.sample_weight, data.frame().centre)
    n_free = data.extent.n_varying - sample.n_dependent()
    return max(1, int(data.sample_size) // (2 * (n_free + 1)))
