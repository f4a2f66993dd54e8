"""The mixtures around one of them, as vectors on which the cost is well scaled."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model import (
    CostTerms,
    Evaluation,
    Frozen,
    Leap,
    MixtureParameters,
    Prior,
    Targets,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# The root of a weight stays above, where its logarithm has a slope.
_MIN_ROOT = 1e-8
# How far a vector may lead: 100 standard deviations of a component in its mean, a
# factor of e^3 in its width. The cost is finite there.
_MAX_SHIFT, _MAX_TANGENT = 100.0, 3.0
# An extrapolation changes no width by more than a factor of e^10.
_MAX_EXTRAPOLATED = 10.0


class DifferentiableObjective(Protocol):
    """What a chart asks of the objective."""

    @property
    def covariance(self) -> CovarianceStructure:
        """The structure of the covariances."""

    @property
    def prior(self) -> Prior:
        """The term of the cost that does not depend on the data."""

    def differentiable_cost(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        fractions: Tensor | None = None,
        targets: Targets | None = None,
    ) -> CostTerms:
        """Return the terms of the cost of unconstrained parameters."""

    def parameters(
        self,
        logits: Tensor,
        means: Tensor,
        factors: Tensor,
        targets: Targets | None = None,
    ) -> MixtureParameters:
        """Return the mixture that unconstrained parameters describe."""


class _Coordinates:
    """Means and factors relative to those of one mixture, in units that it sets.

    Means are in standard deviations of their components, factors are tangents at
    those of the mixture. `means_scale` and `factors_scale` are the square roots of
    their complete-data Fisher information.

    Parameters
    ----------
    covariance : CovarianceStructure
    centre : MixtureParameters
    """

    def __init__(
        self, covariance: CovarianceStructure, centre: MixtureParameters
    ) -> None:
        self._covariance = covariance
        self._centre = centre
        n_features = centre.means.shape[1]
        self.roots = centre.all_weights.sqrt().clamp_min(_MIN_ROOT)
        own = self.roots[: len(centre.means)]
        self.means_scale = own.repeat_interleave(n_features)
        information = covariance.fisher_information(own**2, n_features)
        self.factors_scale = information.sqrt()
        self.sizes = [len(self.roots), len(self.means_scale), len(self.factors_scale)]

    def pack(self, mixture: MixtureParameters) -> tuple[Tensor, Tensor]:
        """Return the coordinates, two vectors, of a mixture's means and factors."""
        factors = self._centre.precisions_cholesky
        shift = mixture.means - self._centre.means
        return (
            self._covariance.whiten(factors, shift).flatten(),
            self._covariance.inverse_retract(factors, mixture.precisions_cholesky),
        )

    def of_components(self, chosen: Frozen) -> Tensor:
        """Return which coordinates, (n,) bool, belong to parameters of components."""
        blocks = 1 if self._covariance.shared else len(chosen.covariances)
        masks = chosen.weights, chosen.means, chosen.covariances[:blocks]
        spread = (
            mask.repeat_interleave(size // len(mask))
            for mask, size in zip(masks, self.sizes, strict=True)
        )
        return torch.cat(tuple(spread)).to(self.roots.device)

    def unpack(self, means: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and triangular factors at coordinates, differentiable."""
        factors = self._centre.precisions_cholesky
        shift = means.reshape(self._centre.means.shape)
        return (
            self._centre.means + self._covariance.unwhiten(factors, shift),
            self._covariance.retract(factors, tangent),
        )


class WhitenedChart:
    """Mixtures around a centre as vectors.

    A vector holds roots of weights, shifts of means in standard deviations of their
    components, and tangents at the factors of the centre. Each is multiplied by the
    square root of its complete-data Fisher information, which is the curvature that
    the cost would have if it were known which sample is from which component. So the
    Hessian at the centre is the identity but for the information that is missing,
    and the first step of a gradient descent is nearly one of EM. In roots of the
    weights the sparsity prior is linear, so that those of dying components run into
    their bound.

    The masses that weigh the ridge of `reg_covar` are those of the first vector
    that is evaluated: only so is there a function to be minimised.

    Parameters
    ----------
    objective : DifferentiableObjective
    centre : MixtureParameters
    """

    def __init__(
        self, objective: DifferentiableObjective, centre: MixtureParameters
    ) -> None:
        self._objective = objective
        self._centre = centre
        self._targets = centre.targets
        self._coordinates = coordinates = _Coordinates(objective.covariance, centre)
        roots, self._sizes = coordinates.roots, coordinates.sizes
        twos = torch.full_like(roots, 2.0)
        self._scales = torch.cat(
            (twos, coordinates.means_scale, coordinates.factors_scale)
        )
        self._middle = self._on_scale(roots, 0.0, 0.0)
        self._lower = self._on_scale(_MIN_ROOT, -_MAX_SHIFT, -_MAX_TANGENT)
        self._upper = self._on_scale(2.0, _MAX_SHIFT, _MAX_TANGENT)
        if objective.prior.frozen is not None:
            stay = coordinates.of_components(objective.prior.frozen)
            self._lower = torch.where(stay, self._middle, self._lower)
            self._upper = torch.where(stay, self._middle, self._upper)
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
            *self._unknowns(vector), self._fractions, self._targets
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
        found = self._objective.parameters(*self._unknowns(vector), self._targets)
        return self._objective.prior.kept(found, self._centre)

    def leap(
        self, middle: MixtureParameters, end: MixtureParameters, longest: float
    ) -> Leap | None:
        """Return where two steps from the centre point, if beyond the second."""
        track = self._centre, middle, end
        found = extrapolate(self._objective.covariance, track, longest)
        if found is None:
            return None
        parameters = self._objective.parameters(*found.unknowns, end.targets)
        kept = self._objective.prior.kept(parameters, self._centre)
        return Leap(kept, found.length)

    def _unknowns(self, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and triangular factors, differentiable.

        The log-weight of noise, if there is some, is the last.
        """
        roots, means, tangent = (vector / self._scales).split(self._sizes)
        return 2.0 * roots.log(), *self._coordinates.unpack(means, tangent)

    def _on_scale(self, *parts: Tensor | float) -> Tensor:
        """Return the vector of three parts, each a tensor or a repeated number."""
        sizes = zip(parts, self._sizes, strict=True)
        full = [torch.as_tensor(x).to(self._scales).expand(n) for x, n in sizes]
        return torch.cat(full) * self._scales


class Extrapolation(NamedTuple):
    """Where the extrapolation of two steps leads.

    Attributes
    ----------
    unknowns : tuple of Tensor
        Log-weights, means and triangular factors of the precisions.
    length : float
        How far that is: 1 is the second step itself.
    """

    unknowns: tuple[Tensor, Tensor, Tensor]
    length: float


def extrapolate(
    covariance: CovarianceStructure,
    track: tuple[MixtureParameters, MixtureParameters, MixtureParameters],
    longest: float,
) -> Extrapolation | None:
    """Extrapolate two steps, by the third step length of Varadhan and Roland (2008).

    Steps are measured in coordinates around the first mixture, and so have no units:
    logarithms of weights, and means and factors as in `WhitenedChart`.

    Parameters
    ----------
    covariance : CovarianceStructure
    track : tuple of MixtureParameters
        A mixture and two steps from it.
    longest : float
        The length is at most this, and at least 1.

    Returns
    -------
    extrapolation : Extrapolation or None
        None where there is nothing to extrapolate, or a component has died.
    """
    origin, middle, end = track
    weights = [mixture.all_weights for mixture in track]
    if len({len(some) for some in weights}) > 1:
        return None
    around = _Coordinates(covariance, origin)
    scales = torch.cat((around.roots, around.means_scale, around.factors_scale))

    def vector(mixture: MixtureParameters) -> Tensor:
        logs = mixture.all_weights.log() - weights[0].log()
        return torch.cat((logs, *around.pack(mixture))) * scales

    first, both = vector(middle), vector(end)
    change = both - 2.0 * first
    length = float(first.norm() / change.norm())
    if not length > 1.0:  # also NaN, of weights that are zero
        return None
    length = min(length, longest)
    leap = (2.0 * length * first + length**2 * change) / scales
    logs, means, tangent = leap.split(around.sizes)
    if not bool(tangent.abs().max() < _MAX_EXTRAPOLATED):
        return None
    unknowns = (weights[0].log() + logs, *around.unpack(means, tangent))
    return Extrapolation(unknowns, length)
