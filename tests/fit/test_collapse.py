"""Which components have a width."""

import numpy as np
import torch

from sklearn_keops_gmm._fit._collapse import has_width
from sklearn_keops_gmm._model import MixtureParameters
from sklearn_keops_gmm._model.covariances import make_covariance


def test_a_width_whose_precision_is_infinite_is_none():
    """As of a component on equal samples at zero, where rounding leaves 1e-310."""
    widths = np.array([[1.0, 1e-300], [1.0, 1e-310], [1.0, 0.0], [2.0, 1e300]])
    variances = torch.from_numpy(widths)
    means = torch.zeros(4, 2, dtype=torch.float64)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    mixture = MixtureParameters(weights, means, variances, variances)
    found = has_width(make_covariance("diag"), mixture)
    assert found.tolist() == [True, False, False, True]
