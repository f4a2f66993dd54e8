"""scikit-learn's arithmetic for starts with one sample per component.

Its mass is divided by one a little above one, which the same answer needs. But where
its squares have lost all digits they are taken about another origin.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import Moments
from sklearn_keops_gmm._model.covariances import MASS_FLOOR


def one_sample_each(problem: StartData, indices: np.ndarray) -> tuple[Tensor, Moments]:
    """Return the moments that make an M-step repeat scikit-learn's arithmetic."""
    points = problem.points[torch.as_tensor(indices).to(problem.points.device)]
    points = points.double() - problem.origin  # (M, D)
    mass = torch.ones_like(points[:, 0])
    floored = mass + MASS_FLOOR
    means = points / floored[:, None]
    second = problem.covariance.one_sample_second(
        points, means, floored, partial(_second_of_all, problem)
    )
    means = problem.origin + means
    # What the M-step is going to add for the mass floor is in there already.
    second = second - problem.covariance.mass_floor_second(means, mass)
    return means, Moments(mass, (floored - mass)[:, None] * means, second, 0.0)


def _second_of_all(problem: StartData) -> Tensor:
    """Return the second moments about the origin, (D, D), of all samples."""
    n_features = len(problem.centre)
    total = problem.centre.new_zeros(n_features, n_features)
    for rows in problem.tiles():
        tile = problem.points[rows].double() - problem.origin
        total += (problem.weights(rows)[:, None] * tile).mT @ tile
    return total / min(1.0, problem.mean_weight)
