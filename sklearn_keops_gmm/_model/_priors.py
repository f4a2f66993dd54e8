"""Priors on the parameters: terms of the cost that do not depend on the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import (
    MixtureParameters,
    Moments,
    Pull,
    Targets,
)
from sklearn_keops_gmm._model._sparse_weights import WeightsOfMass, sparse_weights
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# What sums of fractions round to.
_ROUNDING = 1e-12


class Unknowns(NamedTuple):
    """What priors depend on.

    Attributes
    ----------
    weights : Tensor of shape (M,)
    means : Tensor of shape (M, D)
    factors : Tensor
        Any square factors of the precisions.
    targets : Targets or None
        What is held.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    targets: Targets | None


class Frozen(NamedTuple):
    """Which parameters of components stay as they are.

    Attributes
    ----------
    weights, means, covariances : Tensor of shape (M,), bool
        A covariance that components share stays if all do.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor


class Prior:
    """A term of the cost that does not depend on the data.

    This one is zero: a prior says only what differs.
    """

    # Where users find it, for messages.
    __module__ = "sklearn_keops_gmm._model"

    # Whether weights shrink under it, so that components may leave.
    selects: bool = False
    # Whether it pulls covariances to targets, which `renewed` makes.
    pools: bool = False
    # Its term of the cost of a single component.
    least: float = 0.0
    # What stays as it is under it, if something does.
    frozen: Frozen | None = None
    # Whether its term is known to be zero, whatever the parameters.
    plain: bool = False
    # What it charges for the root of a weight, where weights have no other say in it.
    root_price: float | None = None

    def value(self, unknowns: Unknowns) -> Tensor | float:
        """Return the term of the cost, a differentiable scalar."""
        return 0.0

    def unselective(self) -> Prior:
        """Return what is left of it where no component may leave."""
        return Prior() if self.selects else self

    def maximize_weights(
        self, fractions: Tensor, weights: Tensor, share: float = 1.0
    ) -> Tensor:
        """Return the weights that the M-step makes of mass fractions, (M,).

        Parameters
        ----------
        fractions : Tensor of shape (M,)
            Masses r_j as parts of that of all samples, also of noise if there is some.
        weights : Tensor of shape (M,)
            Those before.
        share : float, default=1.0
            What weights sum to: less than 1 where other components are held.
        """
        if share == 1.0 and _sum_to_one(fractions):
            return fractions
        return share * fractions / fractions.sum()

    def alive(self, weights: Tensor) -> Tensor:
        """Tell, (M,) bool, which components the prior has not extinguished."""
        return torch.ones_like(weights, dtype=torch.bool)

    def decreases(self, weights: Tensor, pairs: Tensor) -> Tensor:
        """Return by how much the term falls where two, (P, 2), become one: (P,)."""
        return weights.new_zeros(len(pairs))

    def augmented(self, moments: Moments, means: Tensor) -> Moments:
        """Return moments about `means` with those that a conjugate prior adds."""
        return moments

    def logits(self, logits: Tensor) -> Tensor:
        """Return logarithms of the weights, up to a constant, of unconstrained ones."""
        return logits

    def kept(
        self, found: MixtureParameters, before: MixtureParameters
    ) -> MixtureParameters:
        """Return what a step has found, but for what stays as it was before."""
        return found

    def pull(self, fractions: Tensor, targets: Targets | None) -> Pull | None:
        """Return what the M-step makes of scatter over mass, if that is another.

        A conjugate prior adds some more samples to each component.
        """
        return None

    def renewed(self, covariances: Tensor, fractions: Tensor) -> Targets | None:
        """Return the targets that scatter over mass makes, if it has any."""
        return None

    def rescaled(
        self, targets: Targets, covariances: Tensor, fractions: Tensor, new: Tensor
    ) -> Targets:
        """Return targets with other scales for components that are `new`, (M,)."""
        return targets


class Priors(Prior):
    """The sum of some priors.

    Parameters
    ----------
    *priors : Prior
    """

    def __init__(self, *priors: Prior) -> None:
        self.priors = priors
        self.selects = any(prior.selects for prior in priors)
        self.pools = any(prior.pools for prior in priors)
        self.least = sum(prior.least for prior in priors)
        frozen = (prior.frozen for prior in priors if prior.frozen is not None)
        self.frozen = next(frozen, None)
        self.plain = all(prior.plain for prior in priors)
        prices = [prior.root_price for prior in priors]
        known = [price for price in prices if price is not None]
        self.root_price = sum(known) if len(known) == len(prices) else None

    def value(self, unknowns: Unknowns) -> Tensor | float:
        return sum(prior.value(unknowns) for prior in self.priors)

    def unselective(self) -> Priors:
        return Priors(*(prior for prior in self.priors if not prior.selects))

    def maximize_weights(
        self, fractions: Tensor, weights: Tensor, share: float = 1.0
    ) -> Tensor:
        if not self.priors:
            return super().maximize_weights(fractions, weights, share)
        for prior in self.priors:
            fractions = prior.maximize_weights(fractions, weights, share)
        return fractions

    def alive(self, weights: Tensor) -> Tensor:
        alive = super().alive(weights)
        for prior in self.priors:
            if prior.selects:
                alive &= prior.alive(weights)
        return alive

    def decreases(self, weights: Tensor, pairs: Tensor) -> Tensor:
        total = super().decreases(weights, pairs)
        for prior in self.priors:
            total = total + prior.decreases(weights, pairs)
        return total

    def augmented(self, moments: Moments, means: Tensor) -> Moments:
        for prior in self.priors:
            moments = prior.augmented(moments, means)
        return moments

    def logits(self, logits: Tensor) -> Tensor:
        for prior in self.priors:
            logits = prior.logits(logits)
        return logits

    def kept(
        self, found: MixtureParameters, before: MixtureParameters
    ) -> MixtureParameters:
        for prior in self.priors:
            found = prior.kept(found, before)
        return found

    def pull(self, fractions: Tensor, targets: Targets | None) -> Pull | None:
        pulls = (prior.pull(fractions, targets) for prior in self.priors)
        return next((pull for pull in pulls if pull is not None), None)

    def renewed(self, covariances: Tensor, fractions: Tensor) -> Targets | None:
        for prior in self.priors:
            targets = prior.renewed(covariances, fractions)
            if targets is not None:
                return targets
        return None

    def rescaled(
        self, targets: Targets, covariances: Tensor, fractions: Tensor, new: Tensor
    ) -> Targets:
        for prior in self.priors:
            targets = prior.rescaled(targets, covariances, fractions, new)
        return targets


class SparsityPrior(Prior):
    """The tutorial's sparsity prior, ``(s / M) sum_j sqrt(W_j)``.

    Concave in the weights, it is smallest when few components hold all the mass.

    Parameters
    ----------
    sparsity : float
        The strength s >= 0; 0 leaves maximum likelihood.
    n_components : int
        M, as asked for: it does not change when components die.
    weights_of : callable, default=sparse_weights
        What makes weights of mass fractions.
    """

    # Of objects that older versions have pickled.
    weights_of: WeightsOfMass = staticmethod(sparse_weights)

    def __init__(
        self,
        sparsity: float,
        n_components: int,
        weights_of: WeightsOfMass = sparse_weights,
    ) -> None:
        self.sparsity = sparsity
        self.n_components = n_components
        self.weights_of = weights_of
        self.price = self.least = self.root_price = sparsity / n_components
        self.selects = sparsity > 0
        self.plain = sparsity == 0

    def value(self, unknowns: Unknowns) -> Tensor | float:
        if self.sparsity == 0:
            return 0.0
        return self.sparsity * self.unit_value(unknowns.weights)

    def unit_value(self, weights: Tensor) -> Tensor:
        """Return ``sum_j sqrt(W_j) / M``, by which the cost grows with s."""
        if weights.requires_grad:  # the slope of the root of 0 is infinite
            weights = weights.clamp_min(torch.finfo(weights.dtype).tiny)
        return weights.sqrt().sum() / self.n_components

    def maximize_weights(
        self, fractions: Tensor, weights: Tensor, share: float = 1.0
    ) -> Tensor:
        """Return the weights that the M-step makes of mass fractions.

        They lower ``-sum_j r_j log W_j + (s / M) sum_j sqrt(W_j)`` over the simplex.

        Parameters
        ----------
        fractions : Tensor of shape (M,)
            Masses r_j as parts of that of all samples.
        weights : Tensor of shape (M,)
            Where the majorisation starts.
        share : float, default=1.0
            What the weights sum to.
        """
        if self.sparsity == 0:
            return super().maximize_weights(fractions, weights, share)
        r, price = fractions.cpu().numpy(), self.price
        if share != 1.0 or not _sum_to_one(fractions):
            # In weights and fractions that sum to 1 it is the same problem, but for
            # the price of a root.
            price *= np.sqrt(share) / r.sum()
            r = r / r.sum()
        found = self.weights_of(r, weights.cpu().numpy(), price)
        return share * torch.from_numpy(found).to(fractions)

    def fractions(self, weights: Tensor) -> Tensor:
        """Return the mass fractions, (M,), of which the M-step makes these weights."""
        roots = weights.sqrt()
        return weights + 0.5 * self.price * (roots - roots.sum() * weights)

    def alive(self, weights: Tensor) -> Tensor:
        if self.sparsity == 0:
            return super().alive(weights)
        alive = weights > torch.finfo(weights.dtype).eps
        if not bool(alive.any()):  # one is left, however strong the prior
            alive[weights.argmax()] = True
        return alive

    def decreases(self, weights: Tensor, pairs: Tensor) -> Tensor:
        # Sums along the short axis of many rows would take as long as all the rest.
        first, second = weights[pairs.T]
        return self.price * (first.sqrt() + second.sqrt() - (first + second).sqrt())


class ComponentPrice(Prior):
    """A price for each component, as criteria for their number have it.

    Parameters
    ----------
    price : float
        In nats per sample.
    """

    root_price = 0.0

    def __init__(self, price: float) -> None:
        self.price = self.least = price

    def value(self, unknowns: Unknowns) -> float:
        return self.price * len(unknowns.weights)

    def decreases(self, weights: Tensor, pairs: Tensor) -> Tensor:
        return weights.new_full((len(pairs),), self.price)


# Targets that are so many times as wide as most components are no typical shape.
_DISPARATE = 10.0


class PooledCovariances(Prior):
    """Covariances that are pulled to a common shape, as more samples of it would.

    With targets W_j that are held, the term is ``(k / N) sum_j KL(N(0, W_j) ||
    N(0, Sigma_j))``: the M-step then gives each component k samples more, whose
    covariance is W_j. It is the mode under a Wishart prior on the precision, with
    k + D + 1 degrees of freedom and the mode ``inv(W_j)``, which is proper for every
    k > 0: no component can gain without bound by sitting on few samples (Fraley and
    Raftery, "Bayesian regularization for normal mixture estimation and model-based
    clustering", Journal of Classification 24, 2007, use one W for all).

    Thin components of several orientations have a round mean, which would widen them
    all. Then targets are as much smaller as it takes to be ten times as wide as most
    components, across.

    Parameters
    ----------
    covariance : CovarianceStructure
    pseudo_samples : float
        k > 0.
    n_samples : float
        N, in the same unit.
    n_features : int
        D.
    """

    pools = True
    root_price = 0.0

    def __init__(
        self,
        covariance: CovarianceStructure,
        pseudo_samples: float,
        n_samples: float,
        n_features: int,
    ) -> None:
        self.covariance = covariance
        self.n_features = n_features
        self.pseudo_samples = pseudo_samples
        self.n_samples = n_samples

    def value(self, unknowns: Unknowns) -> Tensor | float:
        if unknowns.targets is None:
            return 0.0
        divergence = self.covariance.divergence(
            unknowns.factors, unknowns.targets, self.n_features
        )
        return self.pseudo_samples / self.n_samples * divergence

    def pull(self, fractions: Tensor, targets: Targets | None) -> Pull | None:
        if targets is None:
            return None
        mass = self.n_samples * fractions
        return self.covariance.pull(mass, self.pseudo_samples, targets)

    def renewed(self, covariances: Tensor, fractions: Tensor) -> Targets | None:
        mass, n_features = self.n_samples * fractions, self.n_features
        targets = self.covariance.targets(covariances, mass, n_features)
        disparity = self.covariance.disparity(covariances, mass, targets, n_features)
        narrower = min(1.0, _DISPARATE / disparity)
        return replace(targets, shape=narrower * targets.shape)

    def rescaled(
        self, targets: Targets, covariances: Tensor, fractions: Tensor, new: Tensor
    ) -> Targets:
        mass = self.n_samples * fractions
        found = self.covariance.scales(
            covariances, mass, targets.typical, targets.units, self.n_features
        )
        return replace(targets, scales=torch.where(new, found, targets.scales))


# A prior of a user's own: a scalar from weights, means and precision factors.
PriorFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


class UserPrior(Prior):
    """A term of the cost that a user has written in torch.

    Parameters
    ----------
    function : callable
        Of the weights (M,), the means (M, D) and the factors `precisions_cholesky`,
        upper-triangular and of their public shape: float64 tensors on the device of
        the data. Returns a tensor of shape ().
    covariance : CovarianceStructure
    """

    selects = True

    def __init__(
        self, function: PriorFunction, covariance: CovarianceStructure
    ) -> None:
        self.function = function
        self.covariance = covariance

    def value(self, unknowns: Unknowns) -> Tensor:
        """Return the prior's term of the cost, a differentiable scalar.

        Raises
        ------
        ValueError
            If what the function returns cannot be part of a cost.
        """
        weights, means = unknowns.weights, unknowns.means
        factors = self.covariance.triangular(unknowns.factors)
        value = self.function(weights, means, factors)
        if not isinstance(value, Tensor) or value.ndim or value.is_complex():
            raise ValueError(
                "prior(weights, means, precisions_cholesky) must return a real "
                f"torch.Tensor of shape (), but it returned {_describe(value)}."
            )
        arguments = (weights, means, factors)
        differentiated = any(array.requires_grad for array in arguments)
        if differentiated and not value.requires_grad:
            raise ValueError(
                "prior(weights, means, precisions_cholesky) must be differentiable by "
                "torch, but what it returned is a constant: compute it from its "
                "arguments in torch, without numpy, item() or detach()."
            )
        if not bool(torch.isfinite(value)):
            raise ValueError(
                "prior(weights, means, precisions_cholesky) must be finite wherever "
                f"the fit goes, but it returned {value.item()}."
            )
        return value.to(weights)


def _sum_to_one(fractions: Tensor) -> bool:
    """Tell whether nothing but rounding keeps fractions from a sum of 1."""
    return abs(float(fractions.sum()) - 1.0) < _ROUNDING


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{value!r} of type {type(value).__name__}"
