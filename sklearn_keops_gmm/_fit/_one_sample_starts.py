"""scikit-learn's arithmetic for starts with one sample per component.

Its mass is divided by one a little above one, and the tied covariance is that of all
the data: quirks that the same answer needs. But where its squares have lost all digits
they are taken about another origin.
"""

from __future__ import annotations

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
    second = _QUIRKS[problem.covariance.name](problem, points, means, floored)
    means = problem.origin + means
    # What the M-step is going to add for the mass floor is in there already.
    second = second - problem.covariance.mass_floor_second(means, mass)
    return means, Moments(mass, (floored - mass)[:, None] * means, second, 0.0)


def _quirk_full(
    problem: StartData, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    return problem.covariance.outer(points - means)


def _quirk_tied(
    problem: StartData, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    total = torch.zeros_like(means.mT @ means)
    for rows in problem.tiles():
        tile = problem.points[rows].double() - problem.origin
        total += (problem.weights(rows)[:, None] * tile).mT @ tile
    total /= min(1.0, problem.mean_weight)
    return total - (mass[:, None] * means).mT @ means


def _quirk_diag(
    problem: StartData, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    # Divided, then multiplied: the differences are rounding noise that counts.
    mass = mass[:, None]
    return (points * points / mass - means * means) * mass


def _quirk_spherical(
    problem: StartData, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    return _quirk_diag(problem, points, means, mass).sum(1)


_QUIRKS = {
    "full": _quirk_full,
    "tied": _quirk_tied,
    "diag": _quirk_diag,
    "spherical": _quirk_spherical,
    # scikit-learn lacks these: each sample is its own mean.
    "tied_diag": _quirk_diag,
    "tied_spherical": _quirk_spherical,
}
