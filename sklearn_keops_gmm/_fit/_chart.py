"""The mixtures around one of them, as vectors on which the cost is well scaled."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model import CostTerms, MixtureParameters
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# How far a vector may lead: 100 standard deviations of a component in its mean, a
# factor of e^3 in its width. The cost is finite there.
_FARTHEST, _WIDEST = 100.0, 3.0
# The root of a weight stays above, where its logarithm has a slope.
_LEAST = 1e-8


class Evaluation(NamedTuple):
    """The objective at one vector.

    Attributes
    ----------
    value : float
        What is minimised: the cost, and what `reg_covar` adds to it.
    gradient : ndarray of shape (n,)
    cost : float
    log_likelihood : float
    """

    value: float
    gradient: np.ndarray
    cost: float
    log_likelihood: float


class Objective(Protocol):
    """What a neighbourhood asks of the objective."""

    @property
    def covariance(self) -> CovarianceStructure:
        """The structure of the covariances."""

    def differentiable_cost(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        fractions: Tensor | None = None,
    ) -> CostTerms:
        """Return the terms of the cost of unconstrained parameters."""

    def parameters(
        self, logits: Tensor, means: Tensor, factors: Tensor
    ) -> MixtureParameters:
        """Return the mixture that unconstrained parameters describe."""


class Neighbourhood:
    """Mixtures around a centre as vectors.

    A vector holds roots of weights, moves of means in standard deviations of their
    components, and steps of the factors relative to those of the centre. Each is
    multiplied by the square root of the curvature that the cost would have if it
    were known which sample is from which component: then the Hessian at the centre
    is the identity but for the information that is missing, and the first step of a
    gradient descent is nearly one of EM. In roots of the weights the sparsity prior
    is linear, so that those of dying components run into their bound.

    The masses that weigh the ridge of `reg_covar` are those of the first vector
    that is evaluated: only so is there a function to be minimised.

    Parameters
    ----------
    objective : Objective
    centre : MixtureParameters
    """

    def __init__(self, objective: Objective, centre: MixtureParameters) -> None:
        self._objective = objective
        self._centre = centre
        n_features = centre.means.shape[1]
        roots = centre.weights.sqrt().clamp_min(_LEAST)
        of_means = roots.repeat_interleave(n_features)
        of_factors = objective.covariance.curvature(roots**2, n_features).sqrt()
        self._sizes = [len(roots), len(of_means), len(of_factors)]
        self._scales = torch.cat((torch.full_like(roots, 2.0), of_means, of_factors))
        self._middle = self._on_scale(roots, 0.0, 0.0)
        self._lower = self._on_scale(_LEAST, -_FARTHEST, -_WIDEST)
        self._upper = self._on_scale(2.0, _FARTHEST, _WIDEST)
        self._fractions: Tensor | None = None

    @property
    def origin(self) -> np.ndarray:
        """The vector of the centre, of shape (n,)."""
        return self._middle.cpu().numpy()

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest vector, of shape (n,) each."""
        return self._lower.cpu().numpy(), self._upper.cpu().numpy()

    def evaluate(self, packed: np.ndarray) -> Evaluation:
        """Return what is minimised at a vector of shape (n,), with its gradient."""
        vector = torch.tensor(packed, device=self._scales.device, requires_grad=True)
        terms = self._objective.differentiable_cost(
            *self._unknowns(vector), self._fractions
        )
        if self._fractions is None:
            self._fractions = terms.fractions
        value = terms.cost + terms.ridge
        (gradient,) = torch.autograd.grad(value, vector)
        return Evaluation(
            value.item(),
            gradient.cpu().numpy(),
            terms.cost.item(),
            terms.log_likelihood.item(),
        )

    def parameters(self, packed: np.ndarray) -> MixtureParameters:
        """Return the mixture at a vector, negligible components left out."""
        vector = torch.tensor(packed, device=self._scales.device)
        return self._objective.parameters(*self._unknowns(vector))

    def _unknowns(self, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and triangular factors, differentiable."""
        centre, covariance = self._centre, self._objective.covariance
        factors = centre.precisions_cholesky
        roots, means, steps = (vector / self._scales).split(self._sizes)
        shift = covariance.displacements(factors, means.reshape(centre.means.shape))
        return (
            2.0 * roots.log(),
            centre.means + shift,
            covariance.moved(factors, steps),
        )

    def _on_scale(self, *parts: Tensor | float) -> Tensor:
        """Return the vector of roots, moves and steps, or of one number for each."""
        sizes = zip(parts, self._sizes, strict=True)
        full = [torch.as_tensor(x).to(self._scales).expand(n) for x, n in sizes]
        return torch.cat(full) * self._scales
